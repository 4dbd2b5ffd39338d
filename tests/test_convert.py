import json
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from tiny_checkpoint import DIM, SIDE
from tiny_store import stored

from ddl_tf.common.errors import InputError
from ddl_tf.convert import ConvertSettings, main
from ddl_tf.data.layout import PAIRS
from ddl_tf.evaluate import PairsSettings
from ddl_tf.evaluate import pairs as evaluate_stored_pairs
from ddl_tf.evaluation import evaluate_pairs
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.model import load_checkpoint_embedding, load_embedding_model
from ddl_tf.gallery.embedder import PhotoEmbedder
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.runtimes.formats import FORMATS
from ddl_tf.serving.conversion import draw_images, measure_file
from ddl_tf.serving.formats import KINDS


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """24 images of noise, of which 20 are 10 same and 10 different pairs too."""
    folder = tmp_path_factory.mktemp("sets") / "faces"
    stored(folder, count=24, size=SIDE)
    first = np.arange(20)
    second = np.r_[first[:10] ^ 1, first[10:] - 8]
    table = {"first": first, "second": second, "same": first < 10, "fold": first % 10}
    pd.DataFrame(table).to_parquet(folder / PAIRS)
    return str(folder)


def test_what_is_written_and_measured(checkpoint, faces, tmp_path, capfd):
    folder = tmp_path / "converted" / "faces"
    chosen = {"formats": ["tflite_int8"], "calibration": faces, "evaluate_pairs": faces, "threads": 1}
    main(ConvertSettings(checkpoint, str(folder), calibration_images=12, compared_images=8, **chosen))
    printed = capfd.readouterr()
    assert sorted(file.name for file in folder.iterdir()) == ["conversion.json", "model_int8.tflite"]
    record = json.loads((folder / "conversion.json").read_text())
    assert record["model"] == checkpoint
    assert record["compared_on"] == faces
    file = record["files"]["tflite_int8"]
    assert file["file"] == "model_int8.tflite"
    shape = ["batch", SIDE, SIDE, 3]
    assert file["input"] == {"name": "image", "dtype": "float32", "shape": shape, "values": "RGB, 0..255"}
    assert file["output"]["shape"] == ["batch", DIM]
    assert [line.split("|")[1].strip() for line in printed.out.splitlines()[2:]] == ["keras", "tflite_int8"]
    assert printed.err.splitlines() == [str(folder / "model_int8.tflite")]
    whole, int8 = record["measured"]
    assert int8["size"] == (folder / "model_int8.tflite").stat().st_size
    keras, small = (load_embedding_model(str(path)) for path in (checkpoint, folder / "model_int8.tflite"))
    calibration, images = draw_images(faces, (12, 8), (SIDE, SIDE))
    # Of the set, and none is drawn twice.
    assert len(np.unique(np.concatenate([calibration, images]), axis=0)) == 20
    with pytest.raises(InputError, match=r"24 images, where 20 \+ 5 are to be drawn"):
        draw_images(faces, (20, 5), (SIDE, SIDE))
    rows = [np.float64(model.predict(images.astype(np.float32), verbose=0)) for model in (keras, small)]
    first, second = (row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows)
    distance = 1 - np.sum(first * second, axis=1)
    assert int8["largest_distance"] == pytest.approx(distance.max(), rel=1e-3)
    assert int8["mean_distance"] == pytest.approx(distance.mean(), rel=1e-3)
    assert (whole["largest_distance"], whole["mean_distance"]) == (0, 0)
    for measured, model in ((whole, keras), (int8, small)):
        expected = evaluate_pairs(model, read_stored(faces), flip=False)
        assert measured["verification"]["auc"] == pytest.approx(expected["auc"], abs=1e-6)
        assert measured["verification"]["tar"] == pytest.approx(expected["tar"], abs=1e-6)


def test_without_calibration_and_with_flip(checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    settings = ConvertSettings(checkpoint, str(tmp_path), formats=["onnx"], compared_images=3, flip=True)
    # The record of an earlier conversion goes before the first file is written.
    (tmp_path / "conversion.json").write_text("{}")
    with monkeypatch.context() as patched:
        patched.setattr("ddl_tf.serving.formats.write_format", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            main(settings)
    assert not (tmp_path / "conversion.json").exists()
    main(settings)
    record = json.loads((tmp_path / "conversion.json").read_text())
    assert record["compared_on"] == "synthetic faces"
    assert record["files"]["onnx"]["input"]["shape"] == ["batch", 3, SIDE, SIDE]
    assert record["measured"][1]["largest_distance"] < 1e-9
    # Against the embedding of the image alone it is another.
    images = np.random.default_rng(0).integers(0, 256, [4, SIDE, SIDE, 3]).astype(np.uint8)
    rows = load_checkpoint_embedding(checkpoint).predict(images.astype(np.float32), verbose=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert measure_file(tmp_path / "model.onnx", "onnx", images, rows).largest_distance > 1e-4


def test_int8_formats_for_cpus(checkpoint, faces, tmp_path, capsys):
    """Each is measured, says what it computes in, and is taken where a model is."""
    if not all(map(find_spec, ("openvino", "nncf", "tf2onnx"))):
        pytest.skip("needs the extra [openvino]")
    formats, folder = ["onnx_int8", "openvino", "openvino_int8"], tmp_path / "converted"
    chosen = {"formats": formats, "calibration": faces, "evaluate_pairs": faces, "threads": 1}
    main(ConvertSettings(checkpoint, str(folder), calibration_images=12, compared_images=8, **chosen))
    record = json.loads((folder / "conversion.json").read_text())
    computes = [record["files"][name]["computes"] for name in formats]
    assert computes == [KINDS["onnx_int8"].computes, "float32", KINDS["openvino_int8"].computes]
    measured = {form["format"]: form for form in record["measured"]}
    assert measured["openvino"]["largest_distance"] < 1e-9
    assert all(1e-7 < measured[name]["largest_distance"] < 0.1 for name in ("onnx_int8", "openvino_int8"))
    sizes = [(folder / f"model_int8.{suffix}").stat().st_size for suffix in ("xml", "bin")]
    assert measured["openvino_int8"]["size"] == sum(sizes)
    assert "openvino" in record["versions"]
    network, store = str(folder / "model_int8.xml"), tmp_path / "stored"
    evaluate = PairsSettings(model=network, pairs=[faces], flip=False, store=str(store), replicates=0)
    evaluate_stored_pairs(evaluate)
    (stored_result,) = (json.loads(path.read_text()) for path in store.rglob("result.json"))
    assert stored_result["provenance"]["runtime"].endswith("computes in int8, the rest in float32")
    assert stored_result["result"]["auc"] == pytest.approx(measured["openvino_int8"]["verification"]["auc"], abs=1e-6)
    embedder = PhotoEmbedder(network, flip=False)
    assert embedder.record.dim == DIM
    assert embedder.record.sha256 == fingerprint(folder / "model_int8.xml")
    capsys.readouterr()


class _Spoilt:
    """An embedder that gives a black image no number."""

    def __init__(self, path, threads):
        self.dim = 2

    def run(self, images):
        rows = np.tile(np.float32([[0.6, 0.8]]), [len(images), 1])
        rows[images.reshape(len(images), -1).max(axis=1) == 0] = np.nan
        return rows

    embed = run


def test_a_file_whose_embeddings_are_no_numbers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "onnx", KINDS["onnx"]._replace(embedder=_Spoilt))
    images, rows = np.full([3, 4, 4, 3], 7, np.uint8), np.float32([[0.6, 0.8]] * 3)
    with pytest.raises(InputError, match=r"model\.onnx: 1 of 5 embeddings have no norm of 1 but such as nan"):
        measure_file(tmp_path / "model.onnx", "onnx", images, rows)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": ""}, "--model is missing"),
        ({"output": ""}, "--output is missing"),
        ({"formats": ["onnx", "coreml"]}, "--formats=coreml: use some of onnx, onnx_int8"),
        ({"formats": ["tflite_int8"]}, "--formats=tflite_int8 needs --calibration"),
        ({"formats": ["onnx", "openvino_int8"]}, "--formats=openvino_int8 needs --calibration"),
        ({"formats": ["onnx_int8"]}, "--formats=onnx_int8 needs --calibration"),
        ({"compared_images": 0}, "--compared_images=0: must be at least 1"),
        ({"model": "nowhere"}, "no model at nowhere"),
        ({"evaluate_pairs": "nowhere"}, "nowhere"),
    ],
)
def test_bad_settings(checkpoint, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        main(ConvertSettings(**{"model": checkpoint, "output": str(tmp_path / "out"), **settings}))
    assert not Path(tmp_path / "out").exists()


def test_every_format_by_name_has_what_writes_it():
    assert tuple(KINDS) == FORMATS
