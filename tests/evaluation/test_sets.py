import pickle

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.errors import InputError
from ddl_tf.evaluation.sets import VerificationSets, load_sets


@pytest.fixture
def lfw_bin(tmp_path):
    """Write a verification file of 4 pairs: call with its name."""

    def write(name):
        encoded = tf.io.encode_png(np.zeros([16, 16, 3], np.uint8)).numpy()
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(([encoded] * 8, [True, False, True, False]), protocol=2))
        return str(path)

    return write


def test_none_chosen():
    assert load_sets(VerificationSets()) == []


def test_bin_files_in_order(lfw_bin):
    paths = [lfw_bin("lfw_dev.bin"), lfw_bin("agedb_30.bin")]
    assert [one.name for one in load_sets(VerificationSets(bin=paths))] == ["lfw_dev", "agedb_30"]


def test_one_name_twice(lfw_bin):
    paths = [lfw_bin("a/lfw.bin"), lfw_bin("b/lfw.bin")]
    with pytest.raises(InputError, match="2 verification sets are named 'lfw'"):
        load_sets(VerificationSets(bin=paths))


@pytest.mark.parametrize("flag, other", [("lfw_root", "lfw_pairs"), ("lfw_pairs", "lfw_root")])
def test_half_of_lfw(flag, other):
    with pytest.raises(InputError, match=f"^--{flag}=here without --{other}"):
        load_sets(VerificationSets(**{flag: "here"}))


def test_cfp_by_protocol_and_fold(real_faces):
    settings = VerificationSets(
        bin=[str(real_faces / "lfw_dev.bin")], cfp_root=str(real_faces / "cfp"), cfp_folds=[4, 5]
    )
    lfw, frontal, profile = load_sets(settings)
    assert (lfw.name, frontal.name, profile.name) == ("lfw_dev", "cfp_ff", "cfp_fp")
    assert len(lfw.same) == 1000
    for one in (frontal, profile):
        assert len(one.same) == 1400
        np.testing.assert_array_equal(np.bincount(np.unique(one.fold, return_inverse=True)[1]), [700, 700])
