"""The command against a server on this machine: right models, wrong models, and servers that are not there."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from clock import Clock
from served_faces import exported_faces
from stand_in_server import Faults, StandIn, last_row_cut, valid_left_out
from tiny_embedding import SIDE, tiny_embedding

from ddl_tf.client.answers import ModelMetadata, VersionStatus
from ddl_tf.client.client import wait_until_available
from ddl_tf.common.errors import InputError
from ddl_tf.runtimes import write_onnx, write_openvino
from ddl_tf.serve_check import ServeCheckSettings, main
from ddl_tf.serving import ServingError
from ddl_tf.serving.check import Compared, Reference, _decisions


@pytest.fixture(scope="module")
def running():
    with StandIn({1: exported_faces() / "1"}) as server:
        yield server


# Loading takes most of the time of a test.
LOADED = functools.lru_cache(Reference)


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setattr("ddl_tf.serving.check.Reference", LOADED)
    running.faults = Faults()
    return running


@pytest.fixture
def check(server):
    def check(version=1, kind="grpc", **options):
        where = {"url": server.urls[kind], "saved_model": str(exported_faces() / str(version))}
        return main(ServeCheckSettings(**{**where, "model": "faces", "images": 6, "batch": 4, **options}))

    return check


def cells(lines):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_its_own_model(server, check, kind, capsys):
    assert check(kind=kind) == 0
    first, _, _, *table, last = capsys.readouterr().out.splitlines()
    assert first == f"{server.urls[kind]} serves faces, version 1"
    lines = cells(table)
    assert [line[0] for line in lines] == ["search", "serving_bytes", "serving_default", "verify"]
    for _, rows, difference, decisions, median, longest in lines:
        assert (rows, decisions) == ("6", "0")
        assert float(difference) < 1e-5
        assert 0 < float(median) <= float(longest)
    assert last.startswith("all within 0.0001 of ")


def with_embedding(change):
    return lambda outputs: {name: change(rows) if name == "embedding" else rows for name, rows in outputs.items()}


def test_another_model_and_wrong_answers_of_a_signature(server, check, capsys):
    assert check(version=2) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert "search differs from" in line
    assert line.endswith("is it the same export; the server has version 1?")
    assert "all within" not in out
    server.faults = Faults(spoil=with_embedding(lambda rows: rows[:, ::-1]))
    assert check() == 1
    out, err = capsys.readouterr()
    assert "serving_bytes differs from" in err
    differences = {line[0]: float(line[2]) for line in cells(out.splitlines()[3:])}
    assert differences["serving_default"] > 0.01
    assert differences["search"] < 1e-5
    for spoil, message in (
        (last_row_cut, "search: BAD_ANSWER: output 'index' is [3, 3], not [4, 3]"),
        (valid_left_out, "search: BAD_ANSWER: output 'valid' is nothing, not [4]"),
        (with_embedding(lambda rows: np.full_like(rows, np.nan)), "serving_bytes differs from"),
    ):
        server.faults = Faults(spoil=spoil)
        assert check() == 1
        assert message in capsys.readouterr().err


def test_what_cannot_be_checked(check):
    for options, message in (
        ({"url": ""}, "--url is missing"),
        ({"saved_model": "nowhere"}, "nowhere: no saved_model.pb there"),
        ({"images": 0}, "--images=0"),
        ({"tolerance": -1.0}, "--tolerance=-1.0"),
        ({"model": "people", "wait": 0.0}, "NOT_FOUND"),
    ):
        with pytest.raises(InputError, match=f"^.*{message}.*$"):
            check(**options)


@pytest.fixture(scope="module", params=["model.onnx", "model.xml"])
def network(request, tmp_path_factory):
    """A file, and a server of it as OpenVINO Model Server would be one."""
    pytest.importorskip("tf2onnx")
    if request.param.endswith(".xml"):
        pytest.importorskip("openvino")
    path, model = tmp_path_factory.mktemp("network") / request.param, tiny_embedding()
    (write_onnx if path.suffix == ".onnx" else write_openvino)(model, path)

    @tf.function(input_signature=[tf.TensorSpec([None, 3, SIDE, SIDE], tf.float32, name="image")])
    def embed(image):
        return {"embedding": tf.math.l2_normalize(model(tf.transpose(image, [0, 2, 3, 1])), axis=1)}

    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, str(path.parent / "1"), {"serving_default": embed})
    with StandIn({1: path.parent / "1"}) as server:
        yield path, server


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_server_of_a_network(network, kind, capsys):
    path, server = network
    settings = ServeCheckSettings(server.urls[kind], "faces", network=str(path), images=6, batch=4)
    assert main(settings) == 0
    out, err = capsys.readouterr()
    ((signature, rows, difference, decisions, *_),) = cells(out.splitlines()[3:-1])
    assert (signature, rows, decisions) == ("serving_default", "6", "0")
    assert float(difference) < 1e-5
    assert "input (value - 0) / 1, RGB" in err
    server.faults = Faults(spoil=with_embedding(lambda rows: rows[:, ::-1]))
    assert main(settings) == 1
    assert f"serving_default differs from {path}" in capsys.readouterr().err
    server.faults = Faults()


def test_networks_that_no_server_is_checked_by(check, network, tmp_path):
    path, _ = network
    for options, message in (
        ({"network": str(path)}, "--saved_model and --network: give one of the two"),
        ({"saved_model": None}, "--saved_model and --network: give one of the two"),
        ({"saved_model": None, "network": "nowhere.xml"}, "no network at nowhere.xml"),
        ({"saved_model": None, "network": __file__}, "no network at"),
        ({"saved_model": None, "network": "nowhere.xml", "url": "http://localhost:1"}, "no network at nowhere.xml"),
    ):
        with pytest.raises(InputError, match=message):
            check(**options)


class Scripted:
    """A client whose server gives one status after the other."""

    url, model = "grpc://h:1", "faces"

    def __init__(self, *answers):
        self.answers = list(answers)

    def status(self):
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise ServingError(self.url, self.model, answer, "no", "wait")
        return [VersionStatus(*status) for status in answer]

    def metadata(self):
        return ModelMetadata("faces", 3, {})


def test_waiting(capsys, monkeypatch):
    def wait(*answers, seconds=60.0):
        monkeypatch.setattr("ddl_tf.client.client.time", Clock())
        return wait_until_available(Scripted(*answers), seconds)

    loading, ready = [(3, "LOADING", "")], [(3, "AVAILABLE", ""), (2, "UNLOADING", "")]
    assert wait("UNAVAILABLE", "UNAVAILABLE", "NOT_FOUND", loading, ready) == 3
    assert [line.split("faces: ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "UNAVAILABLE; waiting, 0 s so far",
        "NOT_FOUND; waiting, 2 s so far",
        "version 3 is LOADING; waiting, 3 s so far",
    ]
    with pytest.raises(ServingError, match="not loaded after 2 s: version 3 is LOADING"):
        wait(loading, loading, loading, seconds=2.0)
    with pytest.raises(ServingError, match="UNAVAILABLE: no"):
        wait("UNAVAILABLE", "UNAVAILABLE", seconds=1.5)
    # Not waited for.
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: out of memory"):
        wait([(3, "END", "out of memory")])
    with pytest.raises(ServingError, match="UNAUTHENTICATED"):
        wait("UNAUTHENTICATED")


def test_differences_that_are_none():
    """A tie of neighbours, and a similarity at the threshold, may fall on either side."""
    reference = Reference(str(exported_faces() / "1"))
    reference.threshold = 0.5
    similarity = np.array([0.50001, 0.7], np.float32)
    wanted = {"similarity": similarity, "same": np.array([True, True]), "valid": np.array([True, True])}
    answer = {**wanted, "same": np.array([False, True])}
    assert _decisions(reference, {}, answer, wanted, 1e-4) == 0
    assert _decisions(reference, {}, answer, wanted, 1e-6) == 1
    assert _decisions(reference, {}, {**answer, "valid": ~wanted["valid"]}, wanted, 1e-4) == 2

    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    photo = np.array([tf.io.encode_png(pixels).numpy()], object)
    embedding = reference.run("serving_bytes", {"image_bytes": photo})["embedding"]
    gallery = np.concatenate([embedding, embedding, -embedding])
    inputs = {"image_bytes": photo, "gallery": gallery}
    wanted = {"index": np.array([[0, 1]], np.int32), "similarity": np.ones([1, 2], np.float32)}
    assert _decisions(reference, inputs, {"index": np.array([[1, 0]])}, wanted, 1e-4) == 0
    assert _decisions(reference, inputs, {"index": np.array([[0, 2]])}, wanted, 1e-4) == 1
    # What is no number never agrees.
    assert Compared("verify", difference=0.5).agrees(0.5)
    assert not Compared("verify", difference=float("inf")).agrees(1e9)
    assert not Compared("verify", decisions=1).agrees(1.0)
