import shutil

import numpy as np
import pytest
from pair_sets import as_bin, assert_same_numbers, embed, tuples
from refusals import problems_of
from scipy.io import loadmat, savemat

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.pairs import verify
from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.protocols.pair_collection import tenths_of_classes
from ddl_tf.protocols.pair_lists import AGEDB_LIST, read_agedb, read_calfw, read_cplfw, read_xqlfw
from ddl_tf.protocols.pair_sets import tenths

pytestmark = pytest.mark.usefixtures("matlab_in_process")

READERS = {"calfw": read_calfw, "cplfw": read_cplfw, "agedb": read_agedb, "xqlfw": read_xqlfw}
LISTS = {"calfw": "pairs_CALFW.txt", "cplfw": "pairs_CPLFW.txt", "agedb": AGEDB_LIST, "xqlfw": "xqlfw_pairs.txt"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    for name in READERS:
        getattr(miniature_pairs, f"write_{name}")(folder / name)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    """A copy of a miniature, to break: call with its name."""
    return lambda name: shutil.copytree(written / name, tmp_path / name)


def refused_after(name, root, change):
    """The problems of a set whose list was changed, a list of lines."""
    path = root / LISTS[name]
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    return problems_of(READERS[name], root)


def naive_lfw(path):
    """As LFW's own evaluation reads View 2."""
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    for n, parts in enumerate(lines):
        images = (parts[:2], parts[2:] if len(parts) == 4 else parts[::2])
        names = [f"{name}/{name}_{number.zfill(4)}" for name, number in images]
        yield *names, len(parts) == 3, n // (2 * int(header[1]))


def naive_two_lines(path):
    """As FaceX-Zoo reads CALFW and CPLFW: two lines a pair; fold k is the k-th tenth of both halves."""
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    half = len(lines) // 4
    return [
        (first, second, int(mark) != 0, n % half * 10 // half)
        for n, ((first, mark), (second, _)) in enumerate(zip(lines[::2], lines[1::2]))
    ]


def naive_agedb(path):
    """The indices of InsightFace's agedb2pack.py for the images, and of FaceX-Zoo's AgeDB_PairsParser for the marks."""
    for i, split in enumerate(loadmat(str(path))["splits"]):
        images, marks = split[0][0][0][0], split[0][0][0][1][0]
        for column in range(images.shape[1]):
            yield *(str(images[row][column][0][0][0][0]) for row in (0, 1)), bool(marks[column] == 1), i


@pytest.mark.parametrize("name, naive", zip(READERS, (naive_two_lines, naive_two_lines, naive_agedb, naive_lfw)))
def test_pairs_and_images_are_those_of_the_list_and_of_its_bin(written, tmp_path, name, naive):
    pair_set = READERS[name](str(written / name))
    assert pair_set.name == ("agedb_30" if name == "agedb" else name)
    assert tuples(pair_set) == list(naive(written / name / LISTS[name]))
    for fold in range(10):
        assert sorted(pair_set.same[pair_set.fold == fold].tolist()) == [False, False, True, True]
    people = np.asarray(pair_set.people)
    np.testing.assert_array_equal(people[pair_set.first] == people[pair_set.second], pair_set.same)
    files = {path.stem: path.read_bytes() for path in (written / name).rglob("*.jpg")}
    assert list(pair_set.images) == [files[key.split("/")[-1].split(".")[0]] for key in pair_set.keys]
    if name == "agedb":
        assert pair_set.columns["age"].tolist() == [float(key.split("_")[3]) for key in pair_set.keys]
    binned = as_bin(pair_set, tmp_path / f"{name}.bin")
    results = [verify(part, embed(part.images)) for part in (pair_set, binned)]
    assert_same_numbers(*results)
    assert 0 < results[0]["accuracy"] < 1


@pytest.mark.parametrize("name", READERS)
def test_where_images_are(copied, name, tmp_path):
    """Own crops come before the official folder; they may be PNG; and without a folder they are beside the list."""
    root = copied(name)
    (folder,) = [path for path in root.iterdir() if path.is_dir()]
    shutil.copytree(folder, root / "aligned_112")
    for path in (root / "aligned_112").rglob("*.jpg"):
        path.unlink()
        path.with_suffix(".png" if name in ("xqlfw", "agedb") else ".jpg").write_bytes(b"own crop")
    pair_set = READERS[name](str(root))
    assert set(pair_set.images) == {b"own crop"}
    for path in (root / "aligned_112").iterdir():
        path.rename(root / path.name)
    shutil.rmtree(root / "aligned_112")
    shutil.rmtree(folder)
    assert set(READERS[name](str(root)).images) == {b"own crop"}
    # They need not be there.
    with pytest.raises(InputError, match=f"there is no {LISTS[name]} in it; give the folder"):
        READERS[name](str(tmp_path))
    shutil.copy(root / LISTS[name], tmp_path)
    assert tuples(READERS[name](str(tmp_path), check_images=False)) == tuples(pair_set)
    problems = problems_of(READERS[name], tmp_path)
    assert [kind for kind, *_ in problems] == ["missing image"] * len(set(pair_set.keys))
    assert all(str(tmp_path / LISTS[name]) in source for _, source, _ in problems)


WRONG_LINES = {
    "calfw": ["a_1.jpg", "a_1.jpg x", "a_1.jpg -1", "a.jpg 1", "_1.jpg 1", "b/a_1.jpg 1", ""],
    "cplfw": ["what is this, and that", "../Ann_0001.jpg 1"],
    "xqlfw": ["a 1", "a 1 b c", "a 1 b 2 3", "../a 1 2", ""],
}


@pytest.mark.parametrize("name", WRONG_LINES)
def test_malformed_lines(copied, name):
    root = copied(name)
    path = root / LISTS[name]
    before, whole = tuples(READERS[name](str(root))), path.read_text().splitlines()
    for line in WRONG_LINES[name]:
        problems = refused_after(name, root, lambda _, line=line: [*whole[:2], line, *whole[3:8], line, *whole[9:]])
        places = [(kind, source.rsplit(" ", 1)[1]) for kind, source, _ in problems]
        assert places == [("malformed line", "3"), ("malformed line", "9")], line
    for header in ("", "10", "10 x", "a\t1\t2") if name == "xqlfw" else ():
        path.write_text("\n".join([header, *whole[1:]]))
        with pytest.raises(InputError, match=r"line 1: .* is not `folds pairs`"):
            read_xqlfw(str(root))
    path.write_text("\n".join(whole), encoding="utf-8-sig")
    assert tuples(READERS[name](str(root))) == before
    path.write_bytes("\n".join([*whole[:2], "René 1 2"]).encode("latin-1"))
    with pytest.raises(InputError, match=r"line 3: 'Ren\\xe9 1 2' is not UTF-8; save the list as UTF-8"):
        READERS[name](str(root))


ITSELF, MALFORMED, COUNT = "pair of an image with itself", "malformed line", "wrong count"
BOTH = "pair listed as both same and different"


def marked_0(*lines):
    return [line.replace(" 1", " 0") for line in lines]


@pytest.mark.parametrize(
    ("name", "change", "kind", "place", "reason"),
    [
        ("cplfw", lambda x: x[:-1], MALFORMED, "line 79", "a pair has two lines, this has one"),
        ("cplfw", lambda x: [x[0], *marked_0(x[1]), *x[2:]], MALFORMED, "lines 1 and 2", "are marked 1 and 0"),
        ("cplfw", lambda x: [*x[:40], *marked_0(*x[:2]), *x[42:]], BOTH, "lines 41 and 42", "lines 1 and 2"),
        ("calfw", lambda x: [x[0], x[0], *x[2:]], ITSELF, "lines 1 and 2", "Synthetic_Person000"),
        ("xqlfw", lambda x: [x[0], x[1].replace("\t3", "\t1"), *x[2:]], ITSELF, "line 2", "Synthetic_Person000"),
        ("xqlfw", lambda x: [x[0], *sorted(x[1:], key=lambda line: line.count("\t"))], COUNT, "", "by fold"),
        # Cut off.
        ("calfw", lambda x: x[:72], COUNT, "", "20 same and 16 different pairs"),
        ("calfw", lambda x: [], COUNT, "", "0 same and 0 different pairs"),
        ("xqlfw", lambda x: x[:33], COUNT, "", "32 pairs, where the first line says 10 x 2"),
    ],
)
def test_wrong_lists(copied, name, change, kind, place, reason):
    root = copied(name)
    problem = refused_after(name, root, change)[0]
    assert problem[:2] == (kind, f"{root}/{LISTS[name]}{', ' * bool(place)}{place}")
    assert reason in problem[2]


def test_what_is_reported_and_counts(copied, capsys):
    root = copied("cplfw")
    lines = (root / LISTS["cplfw"]).read_text().splitlines()
    lines[:2], lines[40:42] = marked_0(*lines[:2]), [line.replace(" 0", " 1") for line in lines[40:42]]
    # The third pair is the second, the other way round.
    lines[4:6] = lines[3], lines[2]
    (root / LISTS["cplfw"]).write_text("\n".join(lines))
    pair_set = read_cplfw(str(root))
    assert pair_set.same[[0, 1, 19, 20, 21]].tolist() == [False, True, True, True, False]
    pairs = tuples(pair_set)
    assert (len(pairs), pairs[1][:2]) == (40, pairs[2][1::-1])
    reported = capsys.readouterr().err
    assert "cplfw: 1 of the pairs are listed again; each counts as often as it is listed" in reported
    assert "cplfw: 2 of the pairs are marked other than the names say, as " in reported


def test_official_size(written, tmp_path, capsys):
    read_calfw(str(written / "calfw"))
    assert capsys.readouterr().err == "calfw: 40 pairs, not the official 6,000; not the benchmark's numbers\n"
    lines = []
    for n in range(6000):
        second, mark = (f"A_{n}", n // 300 + 1) if n < 3000 else (f"B_{n}", 0)
        lines += [f"A_{n}_0001.jpg {mark}", f"{second}_0002.jpg {mark}"]
    (tmp_path / "pairs_CALFW.txt").write_text("\n".join(lines))
    pair_set = read_calfw(str(tmp_path), check_images=False)
    np.testing.assert_array_equal(pair_set.fold, np.tile(np.repeat(np.arange(10), 300), 2))
    np.testing.assert_array_equal(pair_set.same, np.arange(6000) < 3000)
    assert capsys.readouterr().err == ""


def test_agedb_that_is_no_list(copied):
    root = copied("agedb")
    path = root / AGEDB_LIST
    splits = loadmat(str(path))["splits"]
    for few_or_many in (splits[:9], np.r_[splits, splits[:1]]):
        savemat(str(path), {"splits": few_or_many})
        assert [kind for kind, *_ in problems_of(read_agedb, root)] == ["wrong count"]
    splits[3, 0][0, 0][1][0, 2] = 7
    splits[5, 0][0, 0][0][1, 0][0, 0][1] = "old"
    splits[6, 0][0, 0][1] = splits[6, 0][0, 0][1][:, :3]
    savemat(str(path), {"splits": splits})
    problems = problems_of(read_agedb, root)
    places = ("4, pair 3", "6, pair 1", "7")
    assert [problem[:2] for problem in problems] == [("malformed line", f"{path}, split {place}") for place in places]
    assert "marked 7" in problems[0][2]
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read_agedb(str(root))


@pytest.mark.parametrize("count", [0, 7, 23])
def test_tenths(count):
    fold = tenths(count)
    for k, part in enumerate(np.array_split(np.arange(count), 10)):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), part)
    same = np.random.default_rng(0).random(count) < 0.4
    for kind in (True, False):
        np.testing.assert_array_equal(tenths_of_classes(same)[same == kind], tenths(int(np.sum(same == kind))))
