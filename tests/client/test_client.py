"""The client over the wire: against the stand-in, and against TensorFlow Serving itself where a machine has it."""

import contextlib
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from served_faces import DIM, THRESHOLD, exported_faces
from stand_in_server import Faults, StandIn, load

from ddl_tf.client.client import wait_until_available
from ddl_tf.client.errors import RequestError
from ddl_tf.common.errors import InputError
from ddl_tf.serving import Client, ServingError

KINDS = ["grpc", "rest"]


IMAGES = np.random.RandomState(0).randint(0, 256, [5, 16, 16, 3]).astype(np.uint8)
PHOTOS = [tf.io.encode_png(image).numpy() for image in IMAGES]


@pytest.fixture(scope="module")
def folder():
    return exported_faces()


@pytest.fixture(scope="module")
def saved(folder):
    return {version: load(str(folder / str(version))) for version in (1, 2)}


@pytest.fixture(scope="module")
def expected(saved):
    return run(saved[2], "serving_default", image=IMAGES)["embedding"]


@pytest.fixture(scope="module")
def running(folder):
    with StandIn({version: folder / str(version) for version in (1, 2)}) as server:
        yield server


@pytest.fixture
def server(running):
    running.faults = Faults()
    running.requests.clear()
    return running


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def connect(server, kind):
    """Makes clients of the stand-in."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Client(server.urls[kind], **{"timeout": 20.0, **options}))


def run(saved, signature, **inputs):
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in saved.signatures[signature](**tensors).items()}


def failure(call):
    with pytest.raises(ServingError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{caught.value.server}, model {caught.value.model}: {caught.value.status}: ")
    return caught.value


def check_answers(client, saved):
    """Everything that a client asks, against the SavedModel itself; holds for any server."""
    close = {"atol": 1e-5, "rtol": 0}
    expected = run(saved, "serving_default", image=IMAGES)["embedding"]
    embedding = client.embed(IMAGES)
    assert (embedding.dtype, embedding.shape) == (np.float32, (5, DIM))
    np.testing.assert_allclose(embedding, expected, **close)

    some = [*PHOTOS[:2], b"no image\0", *PHOTOS[2:]]
    embedding, valid = client.embed_bytes(some)
    assert valid.dtype == bool
    assert valid.tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(embedding, np.insert(expected, 2, 0, axis=0), **close)

    first, second = [PHOTOS[0], PHOTOS[1], PHOTOS[2], b""], [PHOTOS[0], PHOTOS[2], PHOTOS[4], PHOTOS[0]]
    verified = client.verify(first, second)
    cosines = [expected[0] @ expected[0], expected[1] @ expected[2], expected[2] @ expected[4], 0]
    np.testing.assert_allclose(verified.similarity, cosines, **close)
    assert verified.similarity.dtype == np.float32
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
    assert described.name == "faces"
    assert sorted(described.signatures) == ["search", "serving_bytes", "serving_default", "verify"]
    assert described.signatures["serving_default"].inputs == {"image": ("uint8", (-1, -1, -1, 3))}
    outputs = {"embedding": ("float32", (-1, DIM)), "valid": ("bool", (-1,))}
    assert described.signatures["serving_bytes"].outputs == outputs
    assert described.signatures["search"].inputs["k"] == ("int32", ())
    assert (described.version, "AVAILABLE", "") in client.status()


def test_answers(connect, saved):
    check_answers(connect(batch=4), saved[2])


def test_versions(connect, saved):
    for version in (1, 2):
        expected = run(saved[version], "serving_default", image=IMAGES)["embedding"]
        client = connect(version=version)
        np.testing.assert_allclose(client.embed(IMAGES), expected, atol=1e-5)
        assert client.metadata().version == version
        assert [status.version for status in client.status()] == [version]
    assert [status.version for status in connect().status()] == [2, 1]


def test_a_long_call_is_split_into_batches_of_one_version(server, connect, monkeypatch):
    client = connect(batch=2)
    client.embed(IMAGES)
    assert server.requests == [("serving_default", rows, 2) for rows in (2, 2, 1)]
    # The metadata tell the version; a newer one may come between two batches.
    asked, find = [], server.find
    monkeypatch.setattr(server, "find", lambda model, version: asked.append(version) or find(model, version))
    client.embed(IMAGES)
    assert asked == [None, 2, 2, 2]


def test_no_rows(server, connect):
    client = connect()
    assert client.embed(np.zeros([0, 8, 8, 3], np.uint8)).shape == (0, DIM)
    embedding, valid = client.embed_bytes([])
    assert (embedding.shape, embedding.dtype, valid.shape, valid.dtype) == ((0, DIM), np.float32, (0,), bool)
    assert client.verify([], []).same.shape == (0,)
    assert client.search([], np.zeros([4, DIM], np.float32), 3).index.shape == (0, 3)
    assert server.requests == []


def test_one_client_for_many_threads(connect, saved):
    client = connect(batch=2)
    images = np.random.RandomState(2).randint(0, 256, [10, 3, 16, 16, 3]).astype(np.uint8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.embed, images))
    for rows, answer in zip(images, answers):
        np.testing.assert_allclose(answer, run(saved[2], "serving_default", image=rows)["embedding"], atol=1e-5)


def test_a_server_that_is_down_or_full_for_a_moment(server, connect, expected):
    server.faults = Faults(refuse=2, refuse_with=("UNAVAILABLE", "try again"))
    np.testing.assert_allclose(connect(retries=2).embed(IMAGES), expected, atol=1e-5)
    server.faults = Faults(refuse=2, refuse_with=("RESOURCE_EXHAUSTED", "try again"))
    error = failure(lambda: connect(retries=1).embed(IMAGES))
    assert error.status == "RESOURCE_EXHAUSTED"
    assert "try again; gave up after 2 attempts" in str(error)
    assert server.faults.refuse == 0


def test_other_failures_are_not_repeated(server, connect):
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


def test_a_dropped_connection(server, connect, expected):
    server.faults = Faults(drop=2)
    client = connect(retries=8)
    np.testing.assert_allclose(client.embed_bytes(PHOTOS).embedding, expected, atol=1e-5)
    # A connection that was good before.
    server.faults = Faults(drop=1)
    np.testing.assert_allclose(client.embed_bytes(PHOTOS).embedding, expected, atol=1e-5)
    server.faults = Faults(drop=1)
    assert failure(lambda: connect(retries=0).embed_bytes(PHOTOS)).status == "UNAVAILABLE"


def test_an_answer_after_the_deadline(server, connect):
    server.faults = Faults(hang=1)
    error = failure(lambda: connect(timeout=0.4).embed(IMAGES))
    assert error.status == "DEADLINE_EXCEEDED"
    assert str(error).endswith("; raise the timeout, or use a smaller batch")


def test_nobody_listens(kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"{'grpc' if kind == 'grpc' else 'http'}://127.0.0.1:{port}"
    with Client(url, "people", retries=1) as client:
        error = failure(client.status)
    assert str(error).startswith(f"{url}, model people: UNAVAILABLE: ")
    assert "refused" in str(error)
    assert "gave up after 2 attempts: is the server up, and is this its host, port and protocol?" in str(error)


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

    def unavailable(*_):
        raise RequestError("UNAVAILABLE", "it stops")

    client._transport.status = unavailable
    error = failure(lambda: client.embed(IMAGES))
    assert error.status == "NOT_FOUND"
    assert "(asked what it has, the server said UNAVAILABLE)" in str(error)


def test_wrong_answers(server, connect, kind):
    client = connect(batch=3)
    server.faults = Faults(cut_rows=True)
    error = failure(lambda: client.embed(IMAGES))
    assert error.status == "BAD_ANSWER"
    assert f"output 'embedding' is float32 [2, {DIM}], not float32 [3, dim]" in str(error)
    server.faults = Faults(without="valid")
    words = {"grpc": "no output 'valid', only embedding", "rest": "one output without a name, of embedding, valid"}
    assert words[kind] in str(failure(lambda: client.embed_bytes(PHOTOS)))
    server.requests.clear()
    server.faults = Faults(cut_dim_after=1)
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


def test_large_messages(folder, server):
    # Answers of more than gRPC's 4 MB.
    gallery = np.eye(110_000, DIM, dtype=np.float32)
    with Client(server.urls["grpc"], batch=10) as client:
        assert client.search(PHOTOS * 2, gallery, len(gallery)).similarity.nbytes > 4 << 20
    with StandIn({2: folder / "2"}, max_message=10_000) as small, Client(small.urls["grpc"]) as client:
        error = failure(lambda: client.embed(np.zeros([16, 16, 16, 3], np.uint8)))
    assert "grpc.max_receive_message_length=BYTES" in str(error)
    assert error.status == "RESOURCE_EXHAUSTED"


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "certificate.pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return key, certificate


def test_tls(folder, expected, credentials, kind):
    with StandIn({2: folder / "2"}, credentials=credentials) as server:
        with Client(server.urls[kind], certificates=str(credentials[1])) as client:
            np.testing.assert_allclose(client.embed(IMAGES), expected, atol=1e-5)
        with Client(server.urls[kind], retries=0) as client:
            text = str(failure(client.status)).lower()
            assert "certificate" in text


URLS = ["", "localhost:8500", "grpc://localhost", "grpc://host:port", "grpc://h:1/path", "ftp://h:1", "http://"]
SECURE = ["grpcs://localhost:1", "https://localhost:1"]
ARGUMENTS = {"version": -1, "timeout": 0, "retries": -1, "batch": 0}


@pytest.mark.parametrize(
    "options, message",
    [
        *(({"url": url}, r"give grpc://host:8500 .*http://host:8501") for url in URLS),
        *(({"url": url, "certificates": "no.pem"}, r"certificates no\.pem: .*give a PEM file") for url in SECURE),
        *(({name: value}, f"{name} {value}: must be") for name, value in ARGUMENTS.items()),
        *(({"model": name}, f"model '{name}'") for name in ("a b", "")),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        Client(**{"url": "http://localhost:8501", **options})


def test_bad_input(connect):
    client = connect()
    shapes, row = r"give uint8 \[rows, height, width, 3\]", np.zeros([DIM], np.float32)
    for call, arguments, message in (
        (client.embed, [np.zeros([2, 8, 8, 3])], shapes),
        (client.embed, [np.zeros([8, 8, 3], np.uint8)], shapes),
        (client.embed, [np.zeros([2, 8, 8, 4], np.uint8)], shapes),
        (client.embed_bytes, [PHOTOS[0]], "put it into a list"),
        (client.embed_bytes, [[PHOTOS[0], "face.jpg"]], "row 1: str, not bytes"),
        (client.verify, [PHOTOS[:2], PHOTOS[:1]], "2 first and 1 second"),
        (client.predict, ["serving_default", {"image": np.zeros([2, 8, 8, 3])}], "input 'image' is float64"),
        (client.search, [PHOTOS, np.tile(row, [4, 1]), 5], "k 5: must be between 1 and the size of the gallery, 4"),
        (client.search, [PHOTOS, row, 1], r"gallery float32 \[16\]"),
    ):
        with pytest.raises(InputError, match=message):
            call(*arguments)


@pytest.mark.skipif(not shutil.which("tensorflow_model_server"), reason="tensorflow_model_server is not installed")
def test_tensorflow_serving_itself(folder, saved, kind, tmp_path):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in KINDS]
        ports = dict(zip(KINDS, [bound.getsockname()[1] for bound in sockets]))
    flags = [f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}", "--model_name=faces"]
    with open(tmp_path / "log", "w") as log:
        command = ["tensorflow_model_server", *flags, f"--model_base_path={folder}"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"{'grpc' if kind == 'grpc' else 'http'}://127.0.0.1:{ports[kind]}"
        with Client(url, batch=2, timeout=20.0) as client:
            wait_until_available(client, 60)
            check_answers(client, saved[2])
            assert "it has search" in str(failure(lambda: client.predict("embed", {"image": IMAGES})))
            assert failure(lambda: client.predict("serving_bytes", {"image": IMAGES})).status == "INVALID_ARGUMENT"
        with Client(url, "people") as client:
            assert failure(client.status).status == "NOT_FOUND"
    finally:
        process.terminate()
        process.wait()
