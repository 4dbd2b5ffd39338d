import pickle
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.protocols.rfw import RACES


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


def test_bin_files_in_order(lfw_bin):
    paths = [lfw_bin("lfw_dev.bin"), lfw_bin("agedb_30.bin")]
    assert [pair_set.name for pair_set in load_sets(VerificationSets(bin=paths))] == ["lfw_dev", "agedb_30"]
    assert load_sets(VerificationSets()) == []
    with pytest.raises(InputError, match="2 verification sets are named 'agedb_30'"):
        load_sets(VerificationSets(bin=[*paths, lfw_bin("b/agedb_30.bin")]))


def test_cfp_by_protocol_and_fold(real_faces):
    settings = VerificationSets(cfp_root=str(real_faces / "cfp"), cfp_folds=[4, 5])
    frontal, profile = load_sets(settings)
    assert (frontal.name, profile.name) == ("cfp_ff", "cfp_fp")
    for pair_set in (frontal, profile):
        np.testing.assert_array_equal(np.bincount(np.unique(pair_set.fold, return_inverse=True)[1]), [700, 700])


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    for name in ("calfw", "cplfw", "agedb", "xqlfw", "rfw", "cfp", "lfw"):
        getattr(miniature_pairs, f"write_{name}")(folder / name)
    for number, race in enumerate(RACES):
        miniature_pairs.write_bin(folder / "rfw_bins", name=f"{race}_test.bin", first_identity=100 * number)
    return folder


def test_official_lists_in_order(miniatures, lfw_bin):
    settings = VerificationSets(
        bin=[lfw_bin("a.bin")],
        cfp_root=str(miniatures / "cfp"),
        lfw_root=str(miniatures / "lfw/lfw"),
        lfw_pairs=str(miniatures / "lfw/pairs.txt"),
        **{f"{name}_root": str(miniatures / name) for name in ("calfw", "cplfw", "agedb", "xqlfw", "rfw")},
    )
    sets = load_sets(settings)
    rfw = ["rfw_african", "rfw_asian", "rfw_caucasian", "rfw_indian"]
    names = ["a", "cfp_ff", "cfp_fp", "lfw_pairs", "calfw", "cplfw", "agedb_30", "xqlfw", *rfw]
    assert [pair_set.name for pair_set in sets] == names
    for pair_set in sets[1:]:
        assert np.bincount(pair_set.fold).tolist() == [4] * 10


def test_rfw_bins(miniatures):
    paths = [str(path) for path in sorted((miniatures / "rfw_bins").iterdir(), reverse=True)]
    sets = load_sets(VerificationSets(rfw_bins=paths))
    assert [pair_set.name for pair_set in sets] == ["rfw_african", "rfw_asian", "rfw_caucasian", "rfw_indian"]
    with pytest.raises(InputError, match="no file of African"):
        load_sets(VerificationSets(rfw_bins=paths[:3]))
    with pytest.raises(InputError, match="2 verification sets are named 'rfw_african'"):
        load_sets(VerificationSets(rfw_root=str(miniatures / "rfw"), rfw_bins=paths))


def test_images_need_not_be_there(miniatures, tmp_path):
    for name in ("cfp", "lfw"):
        shutil.copytree(miniatures / name, tmp_path / name)
    roots = {"cfp_root": str(tmp_path / "cfp"), "lfw_root": str(tmp_path / "lfw" / "lfw")}
    settings = VerificationSets(**roots, lfw_pairs=str(tmp_path / "lfw" / "pairs.txt"))
    expected = [(pair_set.keys, pair_set.first.tolist()) for pair_set in load_sets(settings)]
    for image in tmp_path.rglob("*.jpg"):
        image.unlink()
    with pytest.raises(InputError, match="no such image"):
        load_sets(settings)
    sets = load_sets(settings, check_images=False)
    assert [(pair_set.keys, pair_set.first.tolist()) for pair_set in sets] == expected
