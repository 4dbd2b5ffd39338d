"""Servers that answer slowly, without end, or with other tensors than they promise."""

import socket
import threading

import numpy as np
import pytest

from ddl_tf.client import rest as rest_transport
from ddl_tf.client.errors import RequestError
from ddl_tf.client.grpc import GrpcTransport, from_tensor_proto
from ddl_tf.client.messages import message
from ddl_tf.client.rest import RestTransport, from_json

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STATUS = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_message": ""}}]}'


@pytest.fixture
def listen():
    """Starts a server on this machine that writes a beginning, and then some bytes again and again."""
    sockets, ended = [], threading.Event()

    def start(beginning, repeated=b"", pause=0.0):
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(beginning)
                    while repeated and not ended.wait(pause):
                        connection.sendall(repeated)
                except OSError:
                    # The client has had enough, as it should.
                    return

        threading.Thread(target=serve, daemon=True).start()
        return RestTransport(f"http://127.0.0.1:{server.getsockname()[1]}", "faces")

    yield start
    ended.set()
    for server in sockets:
        server.close()


# In a body, a body to the end, a header, the first line.
@pytest.mark.parametrize("start", [HEAD + b"Content-Length: 1000000\r\n\r\n", HEAD + b"\r\n", HEAD + b"X: ", HEAD[:13]])
def test_the_timeout_is_for_the_whole_answer(listen, start):
    with pytest.raises(RequestError) as caught:
        listen(start, b" ", pause=0.05).status(None, 0.3)
    assert caught.value.status == "DEADLINE_EXCEEDED"


def test_the_timeout_is_for_looking_up_a_name_too(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(60) and [])
    with pytest.raises(RequestError) as caught:
        RestTransport("http://nobody.invalid:8501", "faces").status(None, 0.3)
    assert not released.is_set()
    released.set()
    assert caught.value.status == "DEADLINE_EXCEEDED"


def test_an_endless_answer_is_refused(listen, monkeypatch):
    monkeypatch.setattr(rest_transport, "MOST_BYTES", 1_000_000)
    with pytest.raises(RequestError, match="an answer larger than max 1,000,000 bytes") as caught:
        listen(HEAD + b"\r\n", b" " * 65536).status(None, 30.0)
    assert caught.value.is_too_large
    assert not caught.value.can_pass
    # Nested deeply.
    with pytest.raises(RequestError, match="no JSON"):
        listen(HEAD + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000).status(None, 10.0)


def test_a_cut_answer_is_refused_and_a_whole_one_read(listen):
    whole = HEAD + f"Content-Length: {len(STATUS)}\r\n\r\n".encode() + STATUS
    with pytest.raises(RequestError) as caught:
        listen(whole[:-9]).status(None, 10.0)
    assert caught.value.status == "UNAVAILABLE"
    assert listen(whole).status(None, 10.0)[0].version == 1


def tensor(dtype, shape, **values):
    proto = message("TensorProto")(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


FLOAT, INT32, UINT8, STRING, BOOL = 1, 3, 4, 7, 10


def test_wrong_tensors_and_numbers_are_bad_answers():
    tensors = [
        tensor(FLOAT, [2], tensor_content=b"1234567"),
        tensor(FLOAT, [2], tensor_content=b"1234"),
        tensor(FLOAT, [1], tensor_content=b"12345678"),
        tensor(STRING, [1], tensor_content=b"12345678"),
        tensor(UINT8, [1], int_val=[300]),
        tensor(FLOAT, [-1]),
        tensor(FLOAT, [1 << 40, 1 << 40]),
        tensor(FLOAT, [1], float_val=[1, 2]),
        # A double.
        tensor(2, [1]),
    ]
    numbers = [[2**31 + 5], [-(2**31) - 1], [2**63], [2**70], [1e300], [0.5, -1e39]]
    for read, values in ((from_tensor_proto, tensors), (from_json, numbers)):
        for value in values:
            with pytest.raises(RequestError) as caught:
                read(value)
            assert caught.value.status == "BAD_ANSWER"
    assert from_json([2**31 - 1, -(2**31)]).tolist() == [2**31 - 1, -(2**31)]
    np.testing.assert_array_equal(from_json([0.5, float("nan"), float("inf")]), np.float32([0.5, np.nan, np.inf]))


def test_values_that_are_left_out_are_zeros():
    """As TensorFlow reads them."""
    np.testing.assert_array_equal(from_tensor_proto(tensor(FLOAT, [2, 3])), np.zeros([2, 3], np.float32))
    np.testing.assert_array_equal(from_tensor_proto(tensor(BOOL, [2])), [False, False])
    assert from_tensor_proto(tensor(STRING, [2])).tolist() == [b"", b""]
    assert from_tensor_proto(tensor(INT32, [3], int_val=[1, 5])).tolist() == [1, 5, 5]
    assert from_tensor_proto(tensor(FLOAT, [0, 4])).shape == (0, 4)


def test_a_closed_client_says_so():
    transport = GrpcTransport("127.0.0.1:1", "faces", secure=False)
    transport.close()
    with pytest.raises(RequestError, match="this client is closed; make another one"):
        transport.status(None, 1.0)
