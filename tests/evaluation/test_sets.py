import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.protocols.rfw import RACES


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    for name in ("calfw", "cplfw", "agedb", "xqlfw", "rfw", "cfp", "lfw"):
        getattr(miniature_pairs, f"write_{name}")(folder / name)
    for number, race in enumerate(RACES):
        miniature_pairs.write_bin(folder / "rfw_bins", name=f"{race}_test.bin", first_identity=100 * number)
    return folder


def test_official_lists_in_order(miniatures):
    settings = VerificationSets(
        bin=[str(miniatures / "rfw_bins" / "African_test.bin")],
        cfp_root=str(miniatures / "cfp"),
        lfw_root=str(miniatures / "lfw/lfw"),
        lfw_pairs=str(miniatures / "lfw/pairs.txt"),
        **{f"{name}_root": str(miniatures / name) for name in ("calfw", "cplfw", "agedb", "xqlfw", "rfw")},
    )
    sets = load_sets(settings)
    names = ["African_test", "cfp_ff", "cfp_fp", "lfw_pairs", "calfw", "cplfw", "agedb_30", "xqlfw"]
    assert [pair_set.name for pair_set in sets] == [*names, *(f"rfw_{race.lower()}" for race in RACES)]
    for pair_set in sets[1:]:
        assert np.bincount(pair_set.fold).tolist() == [4] * 10
    # Only some folds; and images that need not be there.
    few = VerificationSets(cfp_root=settings.cfp_root, cfp_folds=[4, 5])
    for image in (miniatures / "cfp").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(InputError, match="no such image"):
        load_sets(few)
    assert [len(pair_set.fold) for pair_set in load_sets(few, check_images=False)] == [8, 8]


def test_rfw_bins_and_equal_names(miniatures):
    paths = [str(path) for path in sorted((miniatures / "rfw_bins").iterdir(), reverse=True)]
    with pytest.raises(InputError, match="no file of African"):
        load_sets(VerificationSets(rfw_bins=paths[:3]))
    with pytest.raises(InputError, match="2 verification sets are named 'rfw_african'"):
        load_sets(VerificationSets(rfw_root=str(miniatures / "rfw"), rfw_bins=paths))
