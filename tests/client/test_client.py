"""The client over the wire, against the stand-in."""

import contextlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from served_faces import DIM, THRESHOLD, exported_faces
from stand_in_server import Faults, StandIn, last_row_cut, load, valid_left_out

from ddl_tf.client.errors import RequestError
from ddl_tf.common.errors import InputError
from ddl_tf.serving import Client, ServingError

IMAGES = np.random.RandomState(0).randint(0, 256, [5, 16, 16, 3]).astype(np.uint8)
PHOTOS = [tf.io.encode_png(image).numpy() for image in IMAGES]


def embeddings(version=2, images=IMAGES):
    """By the SavedModel itself."""
    saved = load(str(exported_faces() / str(version)))
    return saved.signatures["serving_default"](image=tf.constant(images))["embedding"].numpy()


@pytest.fixture(scope="module")
def running():
    with StandIn({version: exported_faces() / str(version) for version in (1, 2)}) as server:
        yield server


@pytest.fixture
def server(running):
    running.faults = Faults()
    running.requests.clear()
    return running


@pytest.fixture(params=["grpc", "rest"])
def kind(request):
    return request.param


@pytest.fixture
def connect(server, kind):
    """Makes clients of the stand-in."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Client(server.urls[kind], **{"timeout": 20.0, **options}))


def failure(call):
    with pytest.raises(ServingError) as caught:
        call()
    text = f"{caught.value.server}, model {caught.value.model}: {caught.value.status}: "
    assert re.fullmatch(f"{re.escape(text)}.*", str(caught.value))
    return caught.value


def test_answers(connect):
    """Everything that a client asks, against the SavedModel itself."""
    client, close = connect(batch=4), {"atol": 1e-5, "rtol": 0}
    expected = embeddings()
    embedding = client.embed(IMAGES)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected, **close)
    embedding, valid = client.embed_bytes([*PHOTOS[:2], b"no image\0", *PHOTOS[2:]])
    assert valid.tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(embedding, np.insert(expected, 2, 0, axis=0), **close)
    first, second = [PHOTOS[0], PHOTOS[1], PHOTOS[2], b""], [PHOTOS[0], PHOTOS[2], PHOTOS[4], PHOTOS[0]]
    verified = client.verify(first, second)
    cosines = [expected[0] @ expected[0], expected[1] @ expected[2], expected[2] @ expected[4], 0]
    np.testing.assert_allclose(verified.similarity, cosines, **close)
    assert verified.same.tolist() == [cosine >= THRESHOLD for cosine in cosines]
    assert verified.valid.tolist() == [True, True, True, False]
    gallery = np.random.RandomState(1).randn(20, DIM).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    similarity = expected @ gallery.T
    nearest = np.argsort(-similarity, axis=1)[:, :3]
    matches = client.search([*PHOTOS, b"no image"], gallery, k=3)
    assert matches.index.dtype == np.int32
    np.testing.assert_array_equal(matches.index[:5], nearest)
    np.testing.assert_allclose(matches.similarity[:5], np.take_along_axis(similarity, nearest, axis=1), **close)
    assert matches.valid.tolist() == [True] * 5 + [False]
    described = client.metadata()
    assert (described.name, described.version) == ("faces", 2)
    assert sorted(described.signatures) == ["search", "serving_bytes", "serving_default", "verify"]
    assert described.signatures["serving_default"].inputs == {"image": ("uint8", (-1, -1, -1, 3))}
    outputs = {"embedding": ("float32", (-1, DIM)), "valid": ("bool", (-1,))}
    assert described.signatures["serving_bytes"].outputs == outputs
    assert described.signatures["search"].inputs["k"] == ("int32", ())
    assert client.status() == [(2, "AVAILABLE", ""), (1, "AVAILABLE", "")]
    older = connect(version=1)
    np.testing.assert_allclose(older.embed(IMAGES), embeddings(1), **close)
    assert older.metadata().version == 1
    assert [status.version for status in older.status()] == [1]


def test_a_long_call_is_split_into_batches_of_one_version_and_many_threads_share_a_client(server, connect, monkeypatch):
    client = connect(batch=2)
    client.embed(IMAGES)
    assert server.requests == [("serving_default", rows, 2) for rows in (2, 2, 1)]
    # The metadata tell the version; a newer one may come between two batches.
    asked, find = [], server.find
    monkeypatch.setattr(server, "find", lambda model, version: asked.append(version) or find(model, version))
    client.embed(IMAGES)
    assert asked == [None, 2, 2, 2]
    # Of no rows nothing is asked.
    server.requests.clear()
    assert client.embed(np.zeros([0, 8, 8, 3], np.uint8)).shape == (0, DIM)
    embedding, valid = client.embed_bytes([])
    assert (embedding.shape, embedding.dtype, valid.shape, valid.dtype) == ((0, DIM), np.float32, (0,), bool)
    assert client.verify([], []).same.shape == (0,)
    assert client.search([], np.zeros([4, DIM], np.float32), 3).index.shape == (0, 3)
    assert server.requests == []
    images = np.random.RandomState(2).randint(0, 256, [10, 3, 16, 16, 3]).astype(np.uint8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.embed, images))
    for rows, answer in zip(images, answers):
        np.testing.assert_allclose(answer, embeddings(images=rows), atol=1e-5)


def test_which_failures_are_repeated(server, connect):
    server.faults = Faults(refuse=2, refuse_with=("UNAVAILABLE", "try again"))
    np.testing.assert_allclose(connect(retries=2).embed(IMAGES), embeddings(), atol=1e-5)
    server.faults = Faults(refuse=2, refuse_with=("RESOURCE_EXHAUSTED", "try again"))
    error = failure(lambda: connect(retries=1).embed(IMAGES))
    assert error.status == "RESOURCE_EXHAUSTED"
    assert "try again; gave up after 2 attempts" in str(error)
    assert server.faults.refuse == 0
    server.faults = Faults(refuse=2, refuse_with=("INTERNAL", "out of\nluck"))
    error = failure(lambda: connect(retries=5).embed(IMAGES))
    assert "INTERNAL: out of luck; see the server's log" in str(error)
    assert server.faults.refuse == 1
    server.faults = Faults()
    error = failure(lambda: connect().predict("embed", {"image_bytes": np.array(PHOTOS, object)}))
    assert "no signature 'embed', it has search, serving_bytes, serving_default, verify: export it again" in str(error)
    error = failure(lambda: connect().predict("serving_bytes", {"images": np.array(PHOTOS, object)}))
    assert error.status == "INVALID_ARGUMENT"
    assert "this is a model of another kind" in str(error)


def test_a_dropped_connection_and_an_answer_after_the_deadline(server, connect):
    client = connect(retries=8)
    # At the second time the connection was good before.
    for drop in (2, 1):
        server.faults = Faults(drop=drop)
        np.testing.assert_allclose(client.embed_bytes(PHOTOS).embedding, embeddings(), atol=1e-5)
    server.faults = Faults(drop=1)
    assert failure(lambda: connect(retries=0).embed_bytes(PHOTOS)).status == "UNAVAILABLE"
    server.faults = Faults(hang=1)
    error = failure(lambda: connect(timeout=0.4).embed(IMAGES))
    assert error.status == "DEADLINE_EXCEEDED"
    assert str(error).endswith("; raise the timeout, or use a smaller batch")


def test_no_such_model_or_version(connect):
    client = connect(model="people")
    for call in (lambda: client.embed(IMAGES), client.status, client.metadata):
        error = failure(call)
        assert error.status == "NOT_FOUND"
        assert "is 'people' the name in the server's --model_name or models.config, does its folder hold" in str(error)
    client = connect(version=7, retries=0)
    error = failure(lambda: client.embed(IMAGES))
    assert error.model == "faces version 7"
    assert "the server has version 1 AVAILABLE, version 2 AVAILABLE: ask for one" in str(error)
    client._transport.status = Mock(side_effect=RequestError("UNAVAILABLE", "it stops"))
    error = failure(lambda: client.embed(IMAGES))
    assert error.status == "NOT_FOUND"
    assert "(asked what it has, the server said UNAVAILABLE)" in str(error)


def test_wrong_answers(server, connect, kind):
    client = connect(batch=3)
    server.faults = Faults(spoil=last_row_cut)
    error = failure(lambda: client.embed(IMAGES))
    assert error.status == "BAD_ANSWER"
    assert f"output 'embedding' is float32 [2, {DIM}], not float32 [3, dim]" in str(error)
    server.faults = Faults(spoil=valid_left_out)
    words = {"grpc": "no output 'valid', only embedding", "rest": "one output without a name, of embedding, valid"}
    assert words[kind] in str(failure(lambda: client.embed_bytes(PHOTOS)))
    server.requests.clear()
    server.faults = Faults(spoil=lambda outputs: {"embedding": outputs["embedding"][:, len(server.requests) :]})
    assert "embeddings of different dimensions" in str(failure(lambda: client.embed(IMAGES)))


def test_a_proxy_that_answers_itself_and_the_other_port(server):
    for code, advice in ((502, "see the server's log"), (413, "use a smaller batch")):
        server.faults = Faults(html=code)
        with Client(server.urls["rest"]) as client:
            error = failure(lambda: client.embed(IMAGES))
        assert error.status == f"HTTP {code}"
        assert "from no TensorFlow Serving" in str(error)
        assert advice in str(error)
    server.faults = Faults()
    with Client(server.urls["rest"].replace("http", "grpc"), retries=1) as client:
        assert failure(lambda: client.embed(IMAGES)).status == "UNAVAILABLE"
    with Client(server.urls["grpc"].replace("grpc", "http"), retries=1) as client:
        assert "is this its host, port and protocol?" in str(failure(lambda: client.embed(IMAGES)))


def test_large_messages(server):
    # Answers of more than gRPC's 4 MB.
    gallery = np.eye(110_000, DIM, dtype=np.float32)
    with Client(server.urls["grpc"], batch=10) as client:
        assert client.search(PHOTOS * 2, gallery, len(gallery)).similarity.nbytes > 4 << 20
    with StandIn({2: exported_faces() / "2"}, max_message=10_000) as small, Client(small.urls["grpc"]) as client:
        error = failure(lambda: client.embed(np.zeros([16, 16, 16, 3], np.uint8)))
    assert "grpc.max_receive_message_length=BYTES" in str(error)
    assert error.status == "RESOURCE_EXHAUSTED"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_tls(tmp_path):
    files = [str(tmp_path / name) for name in ("key.pem", "certificate.pem")]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    options = ["-addext", "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    with StandIn({2: exported_faces() / "2"}, credentials=files) as server:
        for url in server.urls.values():
            with Client(url, certificates=files[1]) as client:
                np.testing.assert_allclose(client.embed(IMAGES), embeddings(), atol=1e-5)
            with Client(url, retries=0) as client:
                assert "certificate" in str(failure(client.status)).lower()


def test_bad_arguments():
    urls = ["", "localhost:8500", "grpc://localhost", "grpc://host:port", "grpc://h:1/path", "ftp://h:1", "http://"]
    secure = ["grpcs://localhost:1", "https://localhost:1"]
    for options, message in (
        *(({"url": url}, r"give grpc://host:8500 .*http://host:8501") for url in urls),
        *(({"url": url, "certificates": "no.pem"}, r"certificates no\.pem: .*give a PEM file") for url in secure),
        *(({name: -1}, f"{name} -1: must be") for name in ("version", "timeout", "retries", "batch")),
        ({"model": "a b"}, "model 'a b'"),
    ):
        with pytest.raises(InputError, match=message):
            Client(**{"url": "http://localhost:8501", **options})


def test_bad_input(connect):
    client = connect()
    shapes, row = r"give uint8 \[rows, height, width, 3\]", np.zeros([DIM], np.float32)
    for call, arguments, message in (
        (client.embed, [np.zeros([2, 8, 8, 3])], shapes),
        (client.embed, [np.zeros([8, 8, 3], np.uint8)], shapes),
        (client.embed_bytes, [PHOTOS[0]], "put it into a list"),
        (client.embed_bytes, [[PHOTOS[0], "face.jpg"]], "row 1: str, not bytes"),
        (client.verify, [PHOTOS[:2], PHOTOS[:1]], "2 first and 1 second"),
        (client.predict, ["serving_default", {"image": np.zeros([2, 8, 8, 3])}], "input 'image' is float64"),
        (client.search, [PHOTOS, np.tile(row, [4, 1]), 5], "k 5: must be between 1 and the size of the gallery, 4"),
        (client.search, [PHOTOS, row, 1], r"gallery float32 \[16\]"),
    ):
        with pytest.raises(InputError, match=message):
            call(*arguments)
