"""InsightFace state dicts with made-up weights, and a writer of PyTorch's file format that needs no PyTorch."""

import pickle
import zipfile
import zlib

import numpy as np

_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def made_up_tensor(name, shape):
    """The same numbers for the same name everywhere; activations neither die nor explode in a deep network."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rsplit(".", 1)[1]
    if kind == "num_batches_tracked":
        return np.array(7, np.int64)
    if name == "features.weight":
        # The IR networks fix the scale of the last batch normalisation.
        return np.ones(shape, np.float32)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        return random.uniform(0.3, 1.2, shape).astype(np.float32)
    if kind in ("running_mean", "bias"):
        return random.normal(0, 0.1, shape).astype(np.float32)
    return (0.9 * random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def made_up_images():
    """Two blocky images, uint8 [2, 112, 112, 3]."""
    blocks = np.random.default_rng(0).integers(0, 256, [2, 8, 8, 3])
    return blocks.repeat(14, axis=1).repeat(14, axis=2).astype(np.uint8)


def literal(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def write_pth(path, state):
    """What `torch.save(state_dict, path)` writes, for contiguous arrays."""
    ordered_dict, content = b"ccollections\nOrderedDict\n)R", b""
    with zipfile.ZipFile(path, "w") as archive:
        for key, (name, array) in enumerate(state.items()):
            array = np.ascontiguousarray(array)
            strides = tuple(stride // array.itemsize for stride in array.strides)
            storage = literal("storage") + f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode() + literal(str(key))
            tensor = b"((" + storage + literal("cpu") + literal(array.size) + b"tQ" + literal(0)
            tensor += literal(array.shape) + literal(strides) + b"\x89" + ordered_dict + b"tR"
            content += literal(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/data.pkl", b"\x80\x02" + ordered_dict + b"(" + content + b"u.")
        archive.writestr("archive/byteorder", "little")
