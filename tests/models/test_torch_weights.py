import os
import pickle
import zipfile

import numpy as np
import pytest
from insightface_state import literal, write_pth
from tiny_sets import assert_memory

from ddl_tf.common.errors import InputError
from ddl_tf.models import read_state_dict
from ddl_tf.models.torch_weights import read_shapes


@pytest.fixture
def state():
    random = np.random.default_rng(0)
    return {
        "conv.weight": random.normal(size=[4, 3, 2, 2]).astype(np.float32),
        "half": random.normal(size=[5]).astype(np.float16),
        "bn.num_batches_tracked": np.array(12, np.int64),
        "empty": np.zeros([0, 3], np.float32),
    }


class Malicious:
    """Runs a shell command when it is unpickled the usual way."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def assert_same(read, state):
    assert list(read) == list(state)
    for name, array in state.items():
        assert read[name].dtype == array.dtype, name
        np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_reads_what_our_writer_writes(state, tmp_path):
    write_pth(tmp_path / "x.pth", state)
    assert_same(read_state_dict(tmp_path / "x.pth"), state)
    # Names of a wrapped network.
    write_pth(tmp_path / "x.pth", {f"module.{name}": array for name, array in state.items()})
    assert_same(read_state_dict(str(tmp_path / "x.pth")), state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_what_pytorch_writes(state, zipped, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors["transposed"] = whole.T
    tensors["part"] = whole[1:3, ::2]
    tensors["shared"] = whole
    tensors["bfloat16"] = whole.to(torch.bfloat16) / 7
    tensors["parameter"] = torch.nn.Parameter(whole)
    tensors["bool"] = whole > 3
    expected = {
        name: tensor.detach().float() if name == "bfloat16" else tensor.detach() for name, tensor in tensors.items()
    }
    expected = {name: tensor.numpy() for name, tensor in expected.items()}
    for content in (tensors, {"epoch": 3, "state_dict": tensors}, {"state_dict_backbone": tensors, "lr": [0.1]}):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        assert_same(read_state_dict(tmp_path / "x.pth"), expected)
    # The state dict of a module carries metadata on its OrderedDict.
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert_same(read_state_dict(tmp_path / "x.pth"), {k: v.numpy() for k, v in module.state_dict().items()})


@pytest.mark.parametrize("kind", ["zip", "pickle", "legacy header"])
def test_a_pickled_command_is_refused_and_does_not_run(kind, tmp_path):
    path, content = tmp_path / "x.pth", {"weight": Malicious(f"touch {tmp_path}/ran")}
    if kind == "zip":
        _pickled(content)(path, None)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        pytest.importorskip("torch").save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"it asks for (posix|nt).system, which is not part of a state dict"):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()


def test_a_pickled_network_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"for torch.nn.modules.linear.Linear, .*; save model.state_dict\(\) alone"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("stack", [b"", b"]", b"K\x01"], ids=["empty", "list", "number"])
def test_a_file_that_ends_inside_an_operation(stack, tmp_path):
    """Each operation of a pickle needs what is not there, and fails in its own way."""
    for operation in range(256):
        (tmp_path / "x.pth").write_bytes(b"\x80\x02" + stack + bytes([operation]))
        with pytest.raises(InputError) as error:
            read_state_dict(tmp_path / "x.pth")
        assert "\n" not in str(error.value)


def _cut(path, state):
    write_pth(path, state)
    path.write_bytes(path.read_bytes()[:-300])


def _flipped(path, state):
    write_pth(path, state)
    weights = state["conv.weight"].tobytes()
    path.write_bytes(path.read_bytes().replace(weights, b"\0" * len(weights)))


def _archive(change):
    """The file of a state dict, its members, name -> bytes, changed by a function."""

    def make(path, state):
        write_pth(path, {"a": np.zeros(3, np.float32)})
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in change(files).items():
                archive.writestr(name, content)

    return make


def _pickled(value):
    return _archive(lambda files: {"archive/data.pkl": pickle.dumps(value, protocol=2)})


def _write_tensor(
    path, storage_size=4, view=None, shape=(4,), strides=(1,), data=bytes(16), copies=1, compressed=False
):
    """A state dict of tensors `w0`, `w1`, ... that are all of one storage of float32."""
    storage = b"(" + literal("storage") + b"ctorch\nFloatStorage\n" + literal("0") + literal("cpu")
    storage += literal(storage_size) + (b"" if view is None else literal(view)) + b"tQ"
    tensor = b"(" + storage + literal(0) + literal(shape) + literal(strides) + b"\x89Nt"
    entries = [literal(f"w{copy}") + b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor + b"R" for copy in range(copies)]
    compression = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}(" + b"".join(entries) + b"u.")
        archive.writestr("archive/data/0", data)


def _nested(depth):
    """To go through all of it would never end."""
    return [_nested(depth - 1)] * 10 if depth else []


NO_START = "storage 0 has no start and length that are whole numbers from 0"
TENSORS = [
    ({"view": ("0", float("nan"), 4)}, NO_START),
    ({"view": ("0", 0, float("nan"))}, NO_START),
    ({"view": ("0", -1, 4)}, NO_START),
    ({"view": ("0", 0, 4.0)}, NO_START),
    ({"view": ("0", True, 3)}, NO_START),
    ({"storage_size": -4}, NO_START),
    ({"view": ("0", 1, 4)}, "storage 0 is cut short"),
    ({"storage_size": 5, "shape": (5,)}, "storage 0 is cut short"),
    ({"shape": (4096,), "strides": (0,)}, r"a tensor of shape \(4096,\) is larger than its storage"),
    ({"shape": (99,)}, r"a tensor of shape \(99,\) is larger than its storage"),
    ({"shape": (2, 4)}, "a tensor is described wrongly"),
    ({"shape": (float("nan"),)}, "a tensor is described wrongly"),
    ({"shape": (1,) * 40, "strides": (1,) * 40}, "a tensor is described wrongly"),
]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path, state: None, "no PyTorch checkpoint at "),
        (lambda path, state: path.mkdir(), "no PyTorch checkpoint at "),
        (lambda path, state: path.write_bytes(b""), "cannot be read as a PyTorch checkpoint"),
        (lambda path, state: path.write_bytes(os.urandom(500)), "cannot be read as a PyTorch checkpoint"),
        (lambda path, state: path.write_bytes(pickle.dumps({"a": 1})), "it does not begin as torch.save writes"),
        (_cut, "cannot be read as a PyTorch checkpoint"),
        (_flipped, "Bad CRC-32"),
        (_archive(lambda files: {**files, "archive/data/0": bytes(8)}), "storage 0 is cut short"),
        (_archive(lambda files: {**files, "archive/byteorder": b"big"}), "byte order is not little endian"),
        (_archive(lambda files: {"hello.txt": b"hello"}), "a zip file without data.pkl is not from torch.save"),
        (_pickled({}), "it holds no state dict"),
        (_pickled([1, 2]), "it holds no state dict"),
        (_pickled({"epoch": 3}), "its entry 'epoch' is not a tensor"),
        (_pickled({"state_dict": {"a": "b"}}), "its entry 'a' is not a tensor"),
        (_pickled({"optimizer": _nested(30)}), "its entry 'optimizer' is not a tensor"),
        *((lambda path, _, tensor=tensor: _write_tensor(path, **tensor), message) for tensor, message in TENSORS),
    ],
)
def test_what_is_no_state_dict_is_refused_in_one_line(make, message, state, tmp_path):
    path = tmp_path / "x.pth"
    make(path, state)
    with pytest.raises(InputError, match=message) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_part_of_a_storage_is_read_as_written(tmp_path):
    numbers = np.arange(8, dtype="<f4")
    _write_tensor(
        tmp_path / "x.pth", storage_size=8, view=("0", 2, 5), shape=(2, 2), strides=(3, 1), data=numbers.tobytes()
    )
    np.testing.assert_array_equal(read_state_dict(tmp_path / "x.pth")["w0"], [[2, 3], [5, 6]])
    assert read_shapes(tmp_path / "x.pth") == {"w0": (2, 2)}


@pytest.mark.parametrize(
    "tensor, message",
    [
        ({"compressed": True}, "bytes unpack to .*; torch.save compresses nothing"),
        ({"copies": 100}, "its tensors would take .* bytes, the file has"),
    ],
)
def test_a_small_file_takes_little_memory(tensor, message, tmp_path):
    values = 1 << 22
    _write_tensor(tmp_path / "x.pth", storage_size=values, shape=(values,), data=bytes(4 * values), **tensor)
    # The archive is looked into, and nothing in it unpacked or copied.
    with assert_memory(values), pytest.raises(InputError, match=message):
        read_state_dict(tmp_path / "x.pth")
