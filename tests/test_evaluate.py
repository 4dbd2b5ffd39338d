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

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.evaluate import CompareSettings, PairsSettings, compare, pairs
from ddl_tf.evaluation import evaluate_pairs, load_sets
from ddl_tf.evaluation import load_embedding_model as load_anew
from ddl_tf.evaluation import session as session_module
from ddl_tf.evaluation.stored import StoredEvaluation

load_embedding_model = functools.lru_cache(maxsize=None)(load_anew)


@pytest.fixture(autouse=True)
def _each_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(session_module, "load_embedding_model", load_embedding_model)


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
    # The table and nothing else.
    header, *rows = printed.err.splitlines()
    assert header.startswith("set")
    # So few pairs have no TAR at small rates, and a last line says why.
    assert [row.split()[0] for row in rows] == ["one", "two", f"{DASH}:"]
    assert json.loads((tmp_path / "out.json").read_text()) == {"model": checkpoint, "flip": True, "sets": results}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    stored = StoredEvaluation(out)
    assert stored.sets == ["one", "two"]
    scores = stored.scores("two")
    views = stored.embeddings("two").sum(axis=1)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    similarity = np.sum(views[scores["first"]] * views[scores["second"]], axis=1)
    np.testing.assert_allclose(scores["similarity"], similarity, atol=1e-6)
    assert results[1]["mean_same"] == pytest.approx(similarity[scores["same"]].mean(), abs=1e-6)
    assert stored.result("two") == results[1]


def test_the_command_of_flags_says_nothing_but_its_table(two_stored, bins, tmp_path):
    files = ",".join(f"{two_stored[1]}_{number}.npy" for number in range(2))
    flags = [f"--embeddings={files}", f"--bin={','.join(bins)}", f"--store={tmp_path}/out", "--replicates=0"]
    command = [sys.executable, "-m", "ddl_tf.evaluate", *flags]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    # No start-up lines, no warnings.
    assert [line.split()[0] for line in own_lines(run.stderr)] == ["set", "one", "two", f"{DASH}:"]
    stored = StoredEvaluation(str(tmp_path / "out"))
    assert [json.loads(line) for line in run.stdout.splitlines()] == [stored.result(name) for name in ("one", "two")]
    assert stored.provenance("two")["command"].endswith("--replicates=0")


def test_embeddings_made_elsewhere_give_what_the_model_gives(checkpoint, bins, tmp_path, capsys):
    pairs(PairsSettings(model=checkpoint, bin=bins[:1], flip=False, replicates=0))
    (pair_set,) = load_sets(PairsSettings(bin=bins[:1]))
    without_flip = evaluate_pairs(load_embedding_model(checkpoint), pair_set, flip=False)
    assert json.loads(capsys.readouterr().out) == without_flip
    chosen = {"bin": bins, "replicates": 0}
    pairs(PairsSettings(model=checkpoint, store=str(tmp_path / "kept"), **chosen))
    by_model = capsys.readouterr().out
    files = [str(tmp_path / "kept" / name / "embeddings.npy") for name in ("one", "two")]
    pairs(PairsSettings(embeddings=files, **chosen))
    assert capsys.readouterr().out == by_model
    with pytest.raises(InputError, match="no set left"):
        pairs(PairsSettings(embeddings=[*files, files[0]], **chosen))
    with pytest.raises(InputError, match="none left for the set two"):
        pairs(PairsSettings(embeddings=files[:1], **chosen))


def test_images_are_listed_in_the_order_of_their_embeddings(real_faces, tmp_path, capsys):
    chosen = {"cfp_root": str(real_faces / "cfp"), "cfp_protocols": ["FP"], "cfp_folds": [4]}
    pairs(PairsSettings(list_images=str(tmp_path), **chosen))
    assert capsys.readouterr().out == ""
    listed = pd.read_csv(tmp_path / "cfp_fp.csv", dtype=str)
    (pair_set,) = load_sets(PairsSettings(**chosen))
    assert list(listed.columns) == ["key", "person"]
    assert list(listed["key"]) == list(pair_set.keys)
    for key in listed["key"][:20]:
        assert (real_faces / "cfp" / "images" / key).is_file()


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
        ({"pairs": ["nowhere"]}, "nowhere"),
        # An OSError, which every command prints in one line.
        ({"bin": ["nowhere"]}, "nowhere"),
        ({"lfw_root": "here", "lfw_pairs": "nowhere"}, "nowhere"),
    ],
)
def test_bad_settings(checkpoint, bins, settings, message):
    with pytest.raises((InputError, OSError), match=message) as error:
        pairs(PairsSettings(**{"model": checkpoint, "bin": bins[:1], **settings}))
    assert "\n" not in str(error.value)


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
