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
TEXT = [name for name in READERS if name != "agedb"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    for name in READERS:
        getattr(miniature_pairs, f"write_{name}")(folder / name)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    """A copy of a miniature, to break: call with its name."""

    def copy(name):
        return shutil.copytree(written / name, tmp_path / name)

    return copy


def edit(path, change):
    """Change the lines of a text file."""
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))


def refused(name, root):
    return problems_of(READERS[name], root)


def refused_after(name, root, change):
    """The problems of a set whose list was changed."""
    edit(root / LISTS[name], change)
    return refused(name, root)


def naive_two_lines(path):
    """As FaceX-Zoo reads CALFW and CPLFW: two lines a pair; fold k is the k-th tenth of both halves."""
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    half = len(lines) // 4
    return [
        (first, second, int(mark) != 0, n % half * 10 // half)
        for n, ((first, mark), (second, _)) in enumerate(zip(lines[::2], lines[1::2]))
    ]


def naive_lfw(path):
    """As LFW's own evaluation reads View 2."""
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    pairs = []
    for n, parts in enumerate(lines):
        images = (parts[:2], parts[2:] if len(parts) == 4 else parts[::2])
        names = [f"{name}/{name}_{number.zfill(4)}" for name, number in images]
        pairs.append((*names, len(parts) == 3, n // (2 * int(header[1]))))
    return pairs


def naive_agedb(path):
    """The indices of InsightFace's agedb2pack.py for the images, and of FaceX-Zoo's AgeDB_PairsParser for the marks."""
    splits, pairs = loadmat(str(path))["splits"], []
    for i in range(splits.shape[0]):
        images, marks = splits[i][0][0][0][0], splits[i][0][0][0][1][0]
        for column in range(images.shape[1]):
            names = [str(images[row][column][0][0][0][0]) for row in (0, 1)]
            assert (names[0].split("_")[0] == names[1].split("_")[0]) == (marks[column] == 1)
            assert all(len(name.split("_")) >= 5 for name in names)
            pairs.append((*names, bool(marks[column] == 1), i))
    return pairs


@pytest.mark.parametrize(
    ("name", "naive"),
    [("calfw", naive_two_lines), ("cplfw", naive_two_lines), ("xqlfw", naive_lfw), ("agedb", naive_agedb)],
)
def test_pairs_and_images_are_those_of_the_list_and_of_its_bin(written, tmp_path, name, naive):
    pair_set = READERS[name](str(written / name))
    assert pair_set.name == ("agedb_30" if name == "agedb" else name)
    assert tuples(pair_set) == naive(written / name / LISTS[name])
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
def test_where_images_are(copied, name):
    """Own crops come before the official folder; they may be PNG; and without a folder they are beside the list."""
    root = copied(name)
    (folder,) = [path for path in root.iterdir() if path.is_dir()]
    shutil.copytree(folder, root / "aligned_112")
    for path in (root / "aligned_112").rglob("*.jpg"):
        path.unlink()
        path.with_suffix(".png" if name in ("xqlfw", "agedb") else ".jpg").write_bytes(b"own crop")
    assert set(READERS[name](str(root)).images) == {b"own crop"}
    for path in (root / "aligned_112").iterdir():
        path.rename(root / path.name)
    shutil.rmtree(root / "aligned_112")
    shutil.rmtree(folder)
    assert set(READERS[name](str(root)).images) == {b"own crop"}


@pytest.mark.parametrize("name", READERS)
def test_images_that_need_not_be_there(written, name, tmp_path):
    with pytest.raises(InputError, match=f"there is no {LISTS[name]} in it; give the folder"):
        READERS[name](str(tmp_path))
    shutil.copy(written / name / LISTS[name], tmp_path)
    pair_set = READERS[name](str(tmp_path), check_images=False)
    assert tuples(pair_set) == tuples(READERS[name](str(written / name)))
    problems = refused(name, tmp_path)
    assert {kind for kind, *_ in problems} == {"missing image"}
    assert len(problems) == len(set(pair_set.keys))
    assert all(str(tmp_path / LISTS[name]) in source for _, source, _ in problems)


def test_every_problem_is_named_once(copied):
    root = copied("calfw")
    gone = sorted(root.rglob("*.jpg"))[:3]
    for path in gone:
        path.unlink()
    problems = refused_after("calfw", root, lambda lines: [*lines[:-4], lines[-1], lines[-1], lines[-1], "x"])
    kinds = ["malformed line", *["missing image"] * 3, "pair of an image with itself"]
    assert sorted(kind for kind, *_ in problems) == kinds
    assert {f"there is no {path}" for path in gone} < {reason for _, _, reason in problems}


WRONG_LINES = {
    "calfw": ["a_1.jpg", "a_1.jpg x", "a_1.jpg -1", "a.jpg 1", "a_1 1", "_1.jpg 1", "b/a_1.jpg 1", ""],
    "cplfw": ["what is this, and that", "../Ann_0001.jpg 1"],
    "xqlfw": ["a 1", "a 1 b", "a 1 b c", "a 1 b 2 3", "../a 1 2", "a 1 .. 1", ""],
}


@pytest.mark.parametrize("name", TEXT)
def test_malformed_lines(copied, name):
    root = copied(name)
    path = root / LISTS[name]
    before, whole = tuples(READERS[name](str(root))), path.read_text().splitlines()
    for line in WRONG_LINES[name]:
        problems = refused_after(name, root, lambda _, line=line: [*whole[:2], line, *whole[3:8], line, *whole[9:]])
        places = [(kind, source.rsplit(" ", 1)[1]) for kind, source, _ in problems]
        assert places == [("malformed line", "3"), ("malformed line", "9")], line
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
        # Cut off, also at the end of a fold, of nine folds, and of the same pairs.
        *(
            ("calfw", lambda x, left=left: x[:left], COUNT, "", f"{same} same and {different} different pairs")
            for left, same, different in ((78, 20, 19), (72, 20, 16), (40, 20, 0), (2, 1, 0), (0, 0, 0))
        ),
        *(
            ("xqlfw", lambda x, left=left: x[:left], COUNT, "", f"{left - 1} pairs, where the first line says 10 x 2")
            for left in (40, 33, 1)
        ),
    ],
)
def test_wrong_lists(copied, name, change, kind, place, reason):
    root = copied(name)
    problem = refused_after(name, root, change)[0]
    assert problem[:2] == (kind, f"{root}/{LISTS[name]}{', ' * bool(place)}{place}")
    assert reason in problem[2]


def test_first_line_of_xqlfw(copied):
    root = copied("xqlfw")
    for header in ("", "10", "10 x", "a\t1\t2"):
        edit(root / LISTS["xqlfw"], lambda lines, header=header: [header, *lines[1:]])
        with pytest.raises(InputError, match=r"line 1: .* is not `folds pairs`"):
            read_xqlfw(str(root))


def test_what_is_reported_and_counts(copied, capsys):
    root = copied("cplfw")
    marks = {0: "0", 1: "0", 40: "1", 41: "1"}
    # The third pair is the second, the other way round.
    edit(
        root / LISTS["cplfw"],
        lambda lines: [
            *(f"{line[:-1]}{marks.get(n, line[-1])}" for n, line in enumerate(lines[:4])),
            *(lines[3], lines[2]),
            *(f"{line[:-1]}{marks.get(n, line[-1])}" for n, line in enumerate(lines[6:], 6)),
        ],
    )
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
        assert [kind for kind, *_ in refused("agedb", root)] == ["wrong count"]
    splits[3, 0][0, 0][1][0, 2] = 7
    splits[5, 0][0, 0][0][1, 0][0, 0][1] = "old"
    splits[6, 0][0, 0][1] = splits[6, 0][0, 0][1][:, :3]
    savemat(str(path), {"splits": splits})
    problems = refused("agedb", root)
    places = ("4, pair 3", "6, pair 1", "7")
    assert [problem[:2] for problem in problems] == [("malformed line", f"{path}, split {place}") for place in places]
    assert "marked 7" in problems[0][2]
    savemat(str(path), {"pairs": np.zeros(3)})
    with pytest.raises(InputError, match="has no variable splits"):
        read_agedb(str(root))
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read_agedb(str(root))


@pytest.mark.parametrize("count", [0, 7, 10, 23, 6000])
def test_tenths(count):
    parts = np.array_split(np.arange(count), 10)
    fold = tenths(count)
    assert len(fold) == count
    for k, part in enumerate(parts):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), part)
    same = np.random.default_rng(0).random(count) < 0.4
    for kind in (True, False):
        np.testing.assert_array_equal(tenths_of_classes(same)[same == kind], tenths(int(np.sum(same == kind))))
