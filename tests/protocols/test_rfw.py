import shutil

import pytest
from pair_sets import assert_same_numbers, embed, tuples

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.pairs import verify
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.miniatures.pairs import write_bin, write_rfw
from ddl_tf.protocols.pair_sets import read_bin
from ddl_tf.protocols.rfw import RACES, read_rfw, read_rfw_bins

NAMES = ["rfw_african", "rfw_asian", "rfw_caucasian", "rfw_indian"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rfw")
    write_rfw(folder)
    return folder


@pytest.fixture(scope="module")
def bins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rfw_bins")
    for number, race in enumerate(RACES):
        write_bin(folder, name=f"{race}_test.bin", first_identity=20 * number)
    return folder


def test_lists(written, tmp_path):
    sets = read_rfw(str(written))
    assert [pair_set.name for pair_set in sets] == NAMES
    for race, pair_set in zip(RACES, sets):
        for key, image in zip(pair_set.keys, pair_set.images):
            assert (written / f"test/data/{race}/{key}.jpg").read_bytes() == image
    assert not set(sets[0].people) & set(sets[1].people)
    # Images need not be there.
    shutil.copytree(written / "test/txts", tmp_path / "txts")
    for others in (read_rfw(str(tmp_path), check_images=False), read_rfw(str(written / "test"))):
        assert list(map(tuples, others)) == list(map(tuples, sets))


def test_lists_and_bins_give_the_same_results(written, bins):
    paths = sorted((str(path) for path in bins.iterdir()), reverse=True)
    readings = read_rfw(str(written)), read_rfw_bins(paths)
    results = [[verify(pair_set, embed(pair_set.images)) for pair_set in sets] for sets in readings]
    assert [result["set"] for result in results[1]] == NAMES
    for listed, binned in zip(*results):
        assert_same_numbers(listed, binned)
    assert len({result["accuracy"] for result in results[0]}) > 1


def test_what_is_wrong_with_all_four_is_told(written, tmp_path):
    root = shutil.copytree(written, tmp_path / "rfw")
    next((root / "test/data/Asian").rglob("*.jpg")).unlink()
    indian = root / "test/txts/Indian/Indian_pairs.txt"
    indian.write_text("".join(f"{line}\n" for line in indian.read_text().splitlines()[:36]))
    with pytest.raises(ProblemsError, match=r"^rfw_asian: 1 missing image .*; rfw_indian: 1 wrong count .*") as caught:
        read_rfw(str(root))
    assert [problem.kind for problem in caught.value.problems] == ["missing image", "wrong count"]
    assert "Asian_pairs.txt, line " in caught.value.problems[0].source
    for race in ("African", "Indian"):
        (root / f"test/txts/{race}/{race}_pairs.txt").unlink()
    with pytest.raises(InputError, match=r"there is no \S+African_pairs\.txt, \S+Indian_pairs\.txt; give the folder"):
        read_rfw(str(root))


def test_names_of_bins(bins, tmp_path):
    paths = [tmp_path / name for name in ("rfw-caucasian.bin", "rfw_asian_112.bin", "INDIAN.bin", "african.bin")]
    for race, path in zip(("Caucasian", "Asian", "Indian", "African"), paths):
        shutil.copy(bins / f"{race}_test.bin", path)
    for race, pair_set in zip(RACES, read_rfw_bins([str(path) for path in paths])):
        assert list(pair_set.images) == list(read_bin(str(bins / f"{race}_test.bin")).images)
    for names, message in (
        (["African_test", "Asian_test", "Caucasian_test"], "no file of Indian; give one file of each race"),
        (["African_test", "Asian_test", "Caucasian_test", "Asian_2"], r"Asian_2\.bin: Asian as \S+Asian_test\.bin is"),
        (["African_test", "lfw"], r"lfw\.bin: its name has no race, or several"),
    ):
        with pytest.raises(InputError, match=message):
            read_rfw_bins([str(tmp_path / f"{name}.bin") for name in names])
