import pickle
import struct

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.importers.safe_pickle import load_pickle
from ddl_tf.protocols.pair_sets import read_bin

BINS = [b"\xff\xd8\xff\xe0 first \x00\n'\\", b"\x89PNG second", b"", b"\x80\x81"]
SAME = [True, False]


def load(tmp_path, content):
    (tmp_path / "set.bin").write_bytes(content)
    return load_pickle(tmp_path / "set.bin")


def py2_string(value):
    """How Python 2 pickled a str with protocol 2."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda image: np.frombuffer(image, "i1")])
def test_what_python_3_writes(tmp_path, protocol, kind):
    for same in (SAME, np.array(SAME), list(np.array(SAME)), [1, 0]):
        read_bins, read_same = load(tmp_path, pickle.dumps(([*map(kind, BINS)], same), protocol=protocol))
        assert [*map(bytes, read_bins)] == BINS
        assert [*map(bool, read_same)] == SAME


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_arrays(tmp_path, protocol):
    for array in (
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.array([0.5, -2], np.float32),
        np.array([b"ab", b"c"]),
        np.zeros([0], bool),
    ):
        read = load(tmp_path, pickle.dumps(array, protocol=protocol))
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


def test_what_python_2_writes(tmp_path):
    long = b"\xff\xd8" + bytes(range(256)) * 2
    protocol_2 = b"\x80\x02](" + py2_string(BINS[0]) + py2_string(long) + b"e](\x88e\x86."
    assert load(tmp_path, protocol_2) == [[BINS[0], long], [True]]
    protocol_0 = b"((lp0\nS'\\xff\\xd8\\n\\''\np1\naS\"it's\"\np2\na(lp3\nI01\naI00\natp4\n."
    assert load(tmp_path, protocol_0) == [[b"\xff\xd8\n'", b"it's"], [True, False]]
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    state = b"(I1\n(I3\nt" + dtype + b"I00\nS'\\xff\\x00a'\ntb."
    np.testing.assert_array_equal(load(tmp_path, array + state), np.array([255, 0, 97], np.uint8))
    double = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    text = b"S'" + repr(struct.pack("<d", 2.5))[2:-1].encode() + b"'\n"
    assert load(tmp_path, double + text + b"tR.") == 2.5


def test_code_is_named_and_not_run(tmp_path):
    for name in (
        *("os.system", "posix.system", "subprocess.check_output", "builtins.eval", "__builtin__.eval"),
        *("builtins.exec", "builtins.getattr", "builtins.__import__", "importlib.import_module", "numpy.load"),
        *("numpy.core.multiarray.fromfile", "_codecs.lookup", "ddl_tf.importers.safe_pickle.load_pickle"),
        "a_module_that_does_not_exist.f",
    ):
        module, _, function = name.rpartition(".")
        shown = name.replace("__builtin__", "builtins")
        with pytest.raises(InputError, match=f"refused, this pickle asks to run {shown},"):
            load(tmp_path, f"c{module}\n{function}\n(S'touch {tmp_path}/mark'\ntR.".encode())
        assert not (tmp_path / "mark").exists()


def test_what_is_no_pickle_of_images(tmp_path):
    damaged = [b"", b"PK\x03\x04 a zip file", b"hello", pickle.dumps((BINS, SAME), protocol=2)[:-9]]
    damaged += [b"\x80\x09.", b"Ppersistent\n.", b"\x82\x01.", b"r\xff\xff\xff\x7f."]
    # The hash of a tuple is that of all in it, each time anew.
    parts = [b"(" + (b")" if not n else b"h" + bytes([n - 1])) * 10 + b"tq" + bytes([n]) + b"0" for n in range(30)]
    for content, message in (
        (b"(icollections\nOrderedDict\n.", r"refused, this pickle asks to run collections\.OrderedDict"),
        (pickle.dumps(np.array([b"a", None], object)), "a NumPy array of object"),
        (pickle.dumps(np.zeros(2, [("a", "u1")])), "a NumPy array of "),
        (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "encoded as"),
        (b"c__builtin__\nbytearray\n(I9999999999\ntR.", "bytes expected, found int"),
        (b"".join(parts) + b"}h\x1dNs.", "a dict with a key of type tuple"),
        (b"".join(parts) + b"\x8f(h\x1d\x90.", "a set"),
        *((content, r"set\.bin: not a pickle of images, or damaged") for content in damaged),
    ):
        with pytest.raises(InputError, match=message):
            load(tmp_path, content)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """The opcode BUILD sets attributes of what was named before."""
    good = pickle.dumps((BINS, SAME), protocol=2)
    for name in (b"_codecs\nencode", b"numpy\nndarray", b"numpy\ndtype", b"__builtin__\nbytearray"):
        for state in (b"}S'__call__'\nI1\ns", b"N}S'__call__'\nI1\ns\x86", b"}S'_GLOBALS'\n}ss"):
            with pytest.raises(InputError, match="not a pickle of images, or damaged"):
                load(tmp_path, b"c" + name + b"\n" + state + b"b.")
    assert load(tmp_path, good) == [BINS, SAME]


def test_small_pickles_take_no_time_and_no_memory(tmp_path):
    """30 lists, of which each holds the one before ten times: written out they are 10^30, which would never end."""
    nested = []
    for _ in range(30):
        nested = [nested] * 10
    assert len(load(tmp_path, pickle.dumps(nested))) == 10
    (tmp_path / "set.bin").write_bytes(pickle.dumps([[nested] * 2, [nested]]))
    with pytest.raises(InputError, match="pair 0 is marked of list, where True or False is expected"):
        read_bin(str(tmp_path / "set.bin"))
    # The reader in C has a list as long as the largest number of a remembered value: 64 GB for these few bytes.
    assert load(tmp_path, b"]r\xff\xff\xff\xff.") == []
