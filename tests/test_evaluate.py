import functools
import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from own_lines import own_lines
from tiny_sets import picture

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.evaluate import CompareSettings, PairsSettings, compare, pairs, people
from ddl_tf.evaluation import evaluate_pairs, load_sets
from ddl_tf.evaluation import load_embedding_model as load_anew
from ddl_tf.evaluation.people_settings import PeopleSettings
from ddl_tf.evaluation.stored import StoredEvaluation

load_embedding_model = functools.lru_cache(maxsize=None)(load_anew)


@pytest.fixture(autouse=True)
def _each_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr("ddl_tf.evaluation.load_embedding_model", load_embedding_model)


@pytest.fixture(scope="module")
def bins(tmp_path_factory):
    """Two verification files of noise in which the same pairs show one image twice, nearly."""
    folder, paths = tmp_path_factory.mktemp("bins"), []
    for seed, name in enumerate(("one", "two")):
        random = np.random.RandomState(seed)
        first, noise = (random.randint(0, 256, [40, 32, 32, 3]) for _ in range(2))
        same = np.arange(40) % 2 == 0
        second = np.where(same[:, np.newaxis, np.newaxis, np.newaxis], first // 2 + noise // 2, noise)
        images = np.stack([first, second], axis=1).reshape(80, 32, 32, 3).astype(np.uint8)
        encoded = [tf.io.encode_png(image).numpy() for image in images]
        (folder / f"{name}.bin").write_bytes(pickle.dumps((encoded, same.tolist()), protocol=2))
        paths.append(str(folder / f"{name}.bin"))
    return paths


def test_command_prints_one_json_object_a_set(checkpoint, bins, tmp_path, capsys):
    out = f"{tmp_path}/out"
    files = {"output": f"{out}.json", "plot": f"{out}.png", "store": out}
    pairs(PairsSettings(model=checkpoint, bin=bins, replicates=40, **files))
    printed = capsys.readouterr()
    results = [json.loads(line) for line in printed.out.splitlines()]
    assert [result["set"] for result in results] == ["one", "two"]
    for result, pair_set in zip(results, load_sets(PairsSettings(bin=bins))):
        expected = evaluate_pairs(load_embedding_model(checkpoint), pair_set)
        assert expected == {name: result[name] for name in expected}
    assert printed.err.startswith("set")
    assert json.loads((tmp_path / "out.json").read_text()) == {"model": checkpoint, "flip": True, "sets": results}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    stored = StoredEvaluation(out)
    scores = stored.scores("two")
    views = stored.embeddings("two").sum(axis=1)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    similarity = np.sum(views[scores["first"]] * views[scores["second"]], axis=1)
    np.testing.assert_allclose(scores["similarity"], similarity, atol=1e-6)
    assert results[1]["mean_same"] == pytest.approx(similarity[scores["same"]].mean(), abs=1e-6)
    assert stored.result("two") == results[1]
    # Embeddings made elsewhere give what the model gives.
    files = [f"{out}/{name}/embeddings.npy" for name in ("one", "two")]
    pairs(PairsSettings(embeddings=files, bin=bins, replicates=40))
    assert capsys.readouterr().out == printed.out
    for given, message in (([*files, files[0]], "no set left"), (files[:1], "none left for the set two")):
        with pytest.raises(InputError, match=message):
            pairs(PairsSettings(embeddings=given, bin=bins, replicates=0))


def test_the_command_of_flags_says_nothing_but_its_table(two_stored, bins, tmp_path):
    files = ",".join(f"{two_stored[1]}_{number}.npy" for number in range(2))
    flags = [f"--embeddings={files}", f"--bin={','.join(bins)}", f"--store={tmp_path}/out", "--replicates=0"]
    command = [sys.executable, "-m", "ddl_tf.evaluate", *flags]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    # No start-up lines, no warnings.
    assert [line.split()[0] for line in own_lines(run.stderr)] == ["set", "one", "two", f"{DASH}:", "FMR"]
    stored = StoredEvaluation(str(tmp_path / "out"))
    assert [json.loads(line) for line in run.stdout.splitlines()] == [stored.result(name) for name in ("one", "two")]
    assert stored.provenance("two")["command"].endswith("--replicates=0")


def test_without_flip(checkpoint, bins, capsys):
    pairs(PairsSettings(model=checkpoint, bin=bins[:1], flip=False, replicates=0))
    (pair_set,) = load_sets(PairsSettings(bin=bins[:1]))
    assert json.loads(capsys.readouterr().out) == evaluate_pairs(load_embedding_model(checkpoint), pair_set, flip=False)


def test_images_are_listed_in_the_order_of_their_embeddings(real_faces, tmp_path, capsys):
    chosen = {"cfp_root": str(real_faces / "cfp"), "cfp_protocols": ["FP"], "cfp_folds": [4]}
    pairs(PairsSettings(list_images=str(tmp_path), **chosen))
    assert capsys.readouterr().out == ""
    listed = pd.read_csv(tmp_path / "cfp_fp.csv", dtype=str)
    (pair_set,) = load_sets(PairsSettings(**chosen))
    assert list(listed.columns) == ["key", "person"]
    assert list(listed["key"]) == list(pair_set.keys)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": ""}, "--model is missing"),
        ({"bin": []}, "no verification set: name one with --bin"),
        ({"batch_size": 0}, "--batch_size=0: must be at least 1"),
        ({"plot": "plot.docx"}, r"plot\.docx"),
        ({"model": "", "embeddings": ["out.npz"]}, r"--embeddings=out\.npz: the name must end in \.npy"),
        ({"embeddings": ["out.npy"]}, "--model and --embeddings together"),
        ({"replicates": 39}, "39 replicates: an interval of 95% needs at least 40"),
        ({"model": "nowhere.keras"}, r"no model at nowhere\.keras"),
        ({"lfw_root": "nowhere"}, "^--lfw_root=nowhere without --lfw_pairs"),
        ({"lfw_pairs": "nowhere"}, "^--lfw_pairs=nowhere without --lfw_root"),
        # An OSError, which every command prints in one line.
        ({"bin": ["nowhere"]}, "nowhere"),
    ],
)
def test_bad_settings(checkpoint, bins, settings, message):
    with pytest.raises((InputError, OSError), match=message):
        pairs(PairsSettings(**{"model": checkpoint, "bin": bins[:1], **settings}))


@pytest.fixture(scope="module")
def two_stored(bins, tmp_path_factory):
    """Stored evaluations of two models on both sets: good embeddings, and ones with more noise."""
    folder = tmp_path_factory.mktemp("stored")
    random = np.random.default_rng(0)
    for name, noise in (("bad", 2.0), ("good", 0.5)):
        files = []
        for number in range(2):
            people = random.normal(size=[40, 2, 8])
            # Even pairs are of one person, see `bins`.
            people[::2, 1] = people[::2, 0]
            rows = (people + noise * random.normal(size=people.shape)).reshape(80, 8)
            files.append(str(folder / f"{name}_{number}.npy"))
            np.save(files[-1], rows.astype(np.float32))
        pairs(PairsSettings(embeddings=files, bin=bins, replicates=0, store=str(folder / name)))
    return str(folder / "bad"), str(folder / "good")


def test_compare_finds_the_better_model(two_stored, tmp_path, capsys):
    bad, good = map(StoredEvaluation, two_stored)
    output, paths = str(tmp_path / "compared.csv"), dict(zip(("baseline", "candidate"), two_stored))
    compare(CompareSettings(**paths, easy="one", hard="two", replicates=100, output=output))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    auc = {row["set"]: row for row in rows if row["number"] == "auc"}
    assert set(auc) == {"one", "two"}
    for name, row in auc.items():
        assert (row["value"], row["baseline"]) == pytest.approx((good.result(name)["auc"], bad.result(name)["auc"]))
        assert row["difference"] == pytest.approx(row["value"] - row["baseline"])
        assert 0 < row["low"] < row["difference"] < row["high"]
        assert row["p"] <= row["p_corrected"] < 0.01
    (gap,) = [row for row in rows if row["number"] == "gap"]
    margins = [good.result(name)["expectation_margin"] for name in ("one", "two")]
    assert gap["value"] == pytest.approx(margins[0] - margins[1])
    assert len(pd.read_csv(output)) == len(rows)
    for settings, message in (
        ({"candidate": ""}, "--candidate is missing"),
        ({"candidate": "nowhere"}, "no stored evaluation"),
        ({"easy": "one", "hard": "lfw"}, "--hard=lfw: not both models have a set of pairs"),
    ):
        with pytest.raises(InputError, match=message):
            compare(CompareSettings(**{**paths, **settings}))


def test_people_of_a_folder(checkpoint, tmp_path, capsys):
    for person in range(8):
        for number in range(4):
            file = tmp_path / "faces" / f"p{person}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(4 * person + number, 24))
    (tmp_path / "hair.csv").write_text("person,hair\np0,long\np1,long\np2,short\np3,short\n")
    chosen = {"root": str(tmp_path / "faces"), "columns": [str(tmp_path / "hair.csv")]}
    settings = PeopleSettings(model=checkpoint, store=str(tmp_path / "out"), by=["hair"], fmr=[0.1], **chosen)
    people(settings)
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["set"], result["people"], result["images"]) == ("faces", 8, 32)
    assert (result["verification"]["pairs"], result["verification"]["same"]) == (32 * 31 / 2, 8 * 6)
    assert list(result["groups"]["hair"]) == ["long", "short", "two groups"]
    assert "At a threshold of " in own_lines(printed.err)[-2]
    stored = StoredEvaluation(str(tmp_path / "out"))
    assert stored.result("faces") == result
    images = stored.images("faces")
    assert images["key"].tolist()[:5] == ["p0/0.jpg", "p0/1.jpg", "p0/2.jpg", "p0/3.jpg", "p1/0.jpg"]
    assert images["hair"].fillna("").tolist()[::4] == ["long", "long", "short", "short", *4 * [""]]
    # Its embeddings, made elsewhere, give the same, without the images.
    embeddings = [str(tmp_path / "out" / "faces" / "embeddings.npy")]
    people(PeopleSettings(embeddings=embeddings, by=["hair"], fmr=[0.1], **chosen))
    assert json.loads(capsys.readouterr().out) == result
    people(PeopleSettings(list_images=str(tmp_path / "lists"), **chosen))
    assert pd.read_csv(tmp_path / "lists" / "faces.csv")["key"].tolist() == images["key"].tolist()
    # Two models on the same people.
    noise = np.random.default_rng(0).normal(size=[32, 8]).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    people(PeopleSettings(embeddings=[str(tmp_path / "noise.npy")], fmr=[0.1], store=str(tmp_path / "other"), **chosen))
    capsys.readouterr()
    compare(CompareSettings(baseline=str(tmp_path / "out"), candidate=str(tmp_path / "other"), replicates=40))
    rows = {row["number"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"verification@auc", "verification@tar@1e-1", "identification@rank@1"} <= set(rows)
    assert rows["verification@auc"]["baseline"] == result["verification"]["auc"]
    assert rows["verification@auc"]["test"] == "paired bootstrap of people"
    # A damaged image is named.
    (tmp_path / "faces" / "p3" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^faces: p3/2\.jpg: .*; replace it or remove it"):
        people(PeopleSettings(model=checkpoint, **chosen))
