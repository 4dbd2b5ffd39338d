import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.errors import InputError
from ddl_tf.evaluate import EvaluateSettings, main
from ddl_tf.evaluation import evaluate_pairs, load_embedding_model, load_sets
from ddl_tf.models import build_recognizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    path = str(tmp_path_factory.mktemp("run") / "tiny.keras")
    build_recognizer("plain_small", 10, embedding_size=64, input_shape=(32, 32, 3)).save(path)
    return path


@pytest.fixture(scope="module")
def bins(tmp_path_factory):
    """Two verification files of noise in which the same pairs show one image twice, nearly."""
    folder, paths = tmp_path_factory.mktemp("bins"), []
    for seed, name in enumerate(("one", "two")):
        random = np.random.RandomState(seed)
        first, other = (random.randint(0, 256, [40, 32, 32, 3]) for _ in range(2))
        same = np.arange(40) % 2 == 0
        second = np.where(same[:, np.newaxis, np.newaxis, np.newaxis], first // 2 + other // 2, other)
        images = np.stack([first, second], axis=1).reshape(80, 32, 32, 3).astype(np.uint8)
        encoded = [tf.io.encode_png(image).numpy() for image in images]
        (folder / f"{name}.bin").write_bytes(pickle.dumps((encoded, same.tolist()), protocol=2))
        paths.append(str(folder / f"{name}.bin"))
    return paths


def test_command_prints_one_json_object_a_set(checkpoint, bins, tmp_path):
    outputs = [f"--output={tmp_path}/out.json", f"--plot={tmp_path}/out.png", f"--embeddings={tmp_path}/out.npz"]
    command = [sys.executable, "-m", "ddl_tf.evaluate", f"--model={checkpoint}", f"--bin={','.join(bins)}", *outputs]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["set"] for one in results] == ["one", "two"]
    for one, pairs in zip(results, load_sets(EvaluateSettings(bin=bins))):
        here = evaluate_pairs(load_embedding_model(checkpoint), pairs)
        assert one.keys() == here.keys()
        assert one["accuracy"] == pytest.approx(here["accuracy"])
        assert one["expectation_margin"] == pytest.approx(here["expectation_margin"], abs=1e-5)
    # The table and nothing else: no start-up lines, no warnings.
    header, *rows = run.stderr.splitlines()
    assert header.startswith("set")
    assert [row.split()[0] for row in rows] == ["one", "two"]
    assert json.loads((tmp_path / "out.json").read_text()) == {"model": checkpoint, "flip": True, "sets": results}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "out.npz") as stored:
        rows = stored["two/embeddings"]
        similarity = np.sum(rows[stored["two/first"]] * rows[stored["two/second"]], axis=1)
        mean = similarity[stored["two/same"]].mean()
    assert results[1]["mean_same"] == pytest.approx(mean, abs=1e-6)


def test_without_flip(checkpoint, bins, capsys):
    main(EvaluateSettings(model=checkpoint, bin=bins[:1], flip=False))
    (line,) = capsys.readouterr().out.splitlines()
    (pairs,) = load_sets(EvaluateSettings(bin=bins[:1]))
    assert json.loads(line) == evaluate_pairs(load_embedding_model(checkpoint), pairs, flip=False)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": ""}, "--model is missing"),
        ({"bin": []}, "no verification set: name one with --bin"),
        ({"batch_size": 0}, "--batch_size=0: must be at least 1"),
        ({"plot": "plot.docx"}, r"plot\.docx"),
        ({"embeddings": "out.npy"}, r"--embeddings=out\.npy: the name must end in \.npz"),
        ({"model": "nowhere.keras"}, r"no model at nowhere\.keras"),
        ({"cfp_root": "nowhere"}, "nowhere"),
        ({"lfw_root": "nowhere"}, "--lfw_root=nowhere without --lfw_pairs"),
        ({"pairs": ["nowhere"]}, "nowhere"),
    ],
)
def test_bad_settings(checkpoint, bins, settings, message):
    with pytest.raises(InputError, match=message) as error:
        main(EvaluateSettings(**{"model": checkpoint, "bin": bins[:1], **settings}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"bin": ["nowhere"]}, {"lfw_root": "here", "lfw_pairs": "nowhere"}])
def test_missing_file_is_named(checkpoint, settings):
    # An OSError, which every command prints in one line.
    with pytest.raises(OSError, match="nowhere"):
        main(EvaluateSettings(model=checkpoint, **settings))


def test_real_faces_with_a_random_network(real_faces, checkpoint, capsys):
    """Even untrained features tell a face from itself in another crop better than chance."""
    cfp = {"cfp_root": str(real_faces / "cfp"), "cfp_protocols": ["FF"], "cfp_folds": [5]}
    main(EvaluateSettings(model=checkpoint, **cfp))
    (result,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (result["set"], result["pairs"], result["same"], result["folds"]) == ("cfp_ff", 700, 350, 10)
    assert result["auc"] > 0.5
