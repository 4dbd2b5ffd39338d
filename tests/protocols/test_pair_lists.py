import shutil

import numpy as np
import pytest
from pair_sets import as_bin, assert_same_numbers, embed, tuples
from scipy.io import loadmat, savemat

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.pairs import verify
from ddl_tf.importers.problem_list import ProblemsError
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
    """The problems that a set is refused for, as (kind, source, reason)."""
    with pytest.raises(ProblemsError) as caught:
        READERS[name](str(root))
    assert "\n" not in str(caught.value)
    return [(problem.kind, problem.source, problem.reason) for problem in caught.value.problems]


def refused_after(name, root, change):
    """The problems of a set whose list was changed."""
    edit(root / LISTS[name], change)
    return refused(name, root)


def naive_two_lines(path):
    """As FaceX-Zoo reads CALFW and CPLFW: two lines a pair; fold k is the k-th tenth of both halves."""
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    pairs = [(one[0], other[0], int(one[1]) != 0) for one, other in zip(lines[::2], lines[1::2])]
    half = len(pairs) // 2
    return [(*pair, n % half * 10 // half) for n, pair in enumerate(pairs)]


def naive_lfw(path):
    """As LFW's own evaluation reads View 2."""
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    block = 2 * int(header[1])
    pairs = []
    for n, parts in enumerate(lines):
        one, other = (parts[:2], parts[2:]) if len(parts) == 4 else (parts[:2], [parts[0], parts[2]])
        names = [f"{name}/{name}_{number.zfill(4)}" for name, number in (one, other)]
        pairs.append((*names, len(parts) == 3, n // block))
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
    results = [verify(one, embed(one.images)) for one in (pair_set, binned)]
    assert_same_numbers(*results)
    assert 0 < results[0]["accuracy"] < 1


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


@pytest.mark.parametrize("name", READERS)
def test_own_crops_are_preferred(copied, name):
    root = copied(name)
    (folder,) = [path for path in root.iterdir() if path.is_dir()]
    shutil.copytree(folder, root / "aligned_112")
    for path in (root / "aligned_112").rglob("*.jpg"):
        path.write_bytes(b"own crop")
    assert set(READERS[name](str(root)).images) == {b"own crop"}


def test_images_beside_the_list_and_png(copied):
    root = copied("xqlfw")
    for path in (root / "xqlfw_aligned_112").iterdir():
        path.rename(root / path.name)
    (root / "xqlfw_aligned_112").rmdir()
    for path in root.rglob("*.jpg"):
        path.rename(path.with_suffix(".png"))
    assert len(read_xqlfw(str(root)).images[0]) > 1000


def test_every_problem_is_named_once(copied):
    root = copied("calfw")
    gone = sorted(root.rglob("*.jpg"))[:3]
    for path in gone:
        path.unlink()
    problems = refused_after("calfw", root, lambda lines: [*lines[:-4], lines[-1], lines[-1], lines[-1], "x"])
    kinds = ["malformed line", *["missing image"] * 3, "pair of an image with itself"]
    assert sorted(kind for kind, *_ in problems) == kinds
    assert {f"there is no {path}" for path in gone} < {reason for _, _, reason in problems}


@pytest.mark.parametrize("name", TEXT)
def test_malformed_lines_are_all_named(copied, name):
    bad = {2: "what is this, and that", 8: "../Ann_0001.jpg 1"}
    problems = refused_after(name, copied(name), lambda lines: [bad.get(n, line) for n, line in enumerate(lines)])
    assert [(kind, source.rsplit(" ", 1)[1]) for kind, source, _ in problems] == [
        ("malformed line", "3"),
        ("malformed line", "9"),
    ]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("calfw", ["a_1.jpg", "a_1.jpg x", "a_1.jpg -1", "a.jpg 1", "a_1 1", "_1.jpg 1", "b/a_1.jpg 1", ""]),
        ("xqlfw", ["a 1", "a 1 b", "a 1 b c", "a 1 b 2 3", "../a 1 2", "a 1 .. 1", ""]),
    ],
)
def test_malformed_line(copied, name, lines):
    root = copied(name)
    whole = (root / LISTS[name]).read_text().splitlines()
    for line in lines:
        problems = refused_after(name, root, lambda _, line=line: [*whole[:2], line, *whole[3:]])
        assert [kind for kind, *_ in problems] == ["malformed line"], line


def test_two_lines_that_are_no_pair(copied):
    root = copied("cplfw")
    problems = refused_after("cplfw", root, lambda lines: [lines[0], lines[1].replace(" 1", " 0"), *lines[2:-1]])
    assert problems == [
        ("malformed line", f"{root}/pairs_CPLFW.txt, line 79", "a pair has two lines, this has one"),
        ("malformed line", f"{root}/pairs_CPLFW.txt, lines 1 and 2", "the two lines of a pair are marked 1 and 0"),
    ]


# Also at the end of a fold, of nine folds, and of the same pairs.
@pytest.mark.parametrize("lines_left", [78, 72, 40, 2, 0])
def test_a_list_that_was_cut_off(copied, lines_left):
    root = copied("calfw")
    ((kind, source, reason),) = refused_after("calfw", root, lambda lines: lines[:lines_left])
    assert (kind, source) == ("wrong count", f"{root}/pairs_CALFW.txt")
    assert f"{min(20, lines_left // 2)} same and {max(0, lines_left // 2 - 20)} different pairs" in reason


@pytest.mark.parametrize("lines_left", [40, 33, 1])
def test_a_list_shorter_than_its_first_line_says(copied, lines_left):
    root = copied("xqlfw")
    reason = f"{lines_left - 1} pairs, where the first line says 10 x 2 x 2"
    problems = refused_after("xqlfw", root, lambda lines: lines[:lines_left])
    assert problems[0] == ("wrong count", f"{root}/xqlfw_pairs.txt", reason)


def test_classes_out_of_their_folds(copied):
    root = copied("xqlfw")
    problems = refused_after("xqlfw", root, lambda lines: [lines[0], *sorted(lines[1:], key=lambda x: x.count("\t"))])
    assert [kind for kind, *_ in problems] == ["wrong count"]


def test_first_line_of_xqlfw(copied):
    root = copied("xqlfw")
    for header in ("", "10", "10 x", "a\t1\t2"):
        edit(root / LISTS["xqlfw"], lambda lines, header=header: [header, *lines[1:]])
        with pytest.raises(InputError, match=r"line 1: .* is not `folds pairs`"):
            read_xqlfw(str(root))


@pytest.mark.parametrize("name", TEXT)
def test_an_image_with_itself(copied, name):
    root = copied(name)

    def change(lines):
        return [lines[0], lines[1].replace("\t3", "\t1") if name == "xqlfw" else lines[0], *lines[2:]]

    ((kind, source, reason),) = refused_after(name, root, change)
    assert kind == "pair of an image with itself"
    assert "Synthetic_Person000" in reason
    assert str(root / LISTS[name]) in source


def test_pairs_listed_again_count_and_are_reported(copied, capsys):
    root = copied("calfw")
    # The second pair is the first, the other way round.
    edit(root / LISTS["calfw"], lambda lines: [*lines[:2], lines[1], lines[0], *lines[4:]])
    pairs = tuples(read_calfw(str(root)))
    assert (len(pairs), pairs[0][:2]) == (40, pairs[1][1::-1])
    assert "calfw: 1 of the pairs are listed again; each counts as often as it is listed" in capsys.readouterr().err


def test_a_pair_that_is_both_same_and_different(copied):
    def change(lines):
        return [*lines[:40], *(line.replace(" 1", " 0") for line in lines[:2]), *lines[42:]]

    ((kind, source, reason),) = refused_after("cplfw", copied("cplfw"), change)
    assert kind == "pair listed as both same and different"
    assert source.endswith("lines 41 and 42")
    assert reason.endswith("lines 1 and 2")


def test_marks_other_than_the_names_are_reported(copied, capsys):
    root = copied("cplfw")
    marks = {0: "0", 1: "0", 40: "1", 41: "1"}
    edit(
        root / LISTS["cplfw"],
        lambda lines: [f"{line[:-1]}{marks[n]}" if n in marks else line for n, line in enumerate(lines)],
    )
    assert read_cplfw(str(root)).same[[0, 1, 19, 20, 21]].tolist() == [False, True, True, True, False]
    assert "cplfw: 2 of the pairs are marked other than the names say, as " in capsys.readouterr().err


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


def refused_agedb(root, change):
    """The problems of AgeDB after a change of its splits."""
    savemat(str(root / AGEDB_LIST), {"splits": change(loadmat(str(root / AGEDB_LIST))["splits"])})
    return refused("agedb", root)


def test_agedb_with_a_mark_that_is_none_or_too_few_folds(copied):
    root = copied("agedb")

    def change(splits):
        splits[3, 0][0, 0][1][0, 2] = 7
        splits[5, 0][0, 0][0][1, 0][0, 0][1] = "old"
        splits[6, 0][0, 0][1] = splits[6, 0][0, 0][1][:, :3]
        return splits

    problems = refused_agedb(root, change)
    places = ("4, pair 3", "6, pair 1", "7")
    assert [problem[:2] for problem in problems] == [
        ("malformed line", f"{root / AGEDB_LIST}, split {place}") for place in places
    ]
    assert "marked 7" in problems[0][2]
    shutil.rmtree(root)
    root = copied("agedb")
    assert [kind for kind, *_ in refused_agedb(root, lambda splits: np.r_[splits, splits[:1]])] == ["wrong count"]
    assert [kind for kind, *_ in refused_agedb(root, lambda splits: splits[:9])] == ["wrong count"]


def test_agedb_that_is_no_list(tmp_path):
    (tmp_path / AGEDB_LIST).write_bytes(b"no MATLAB file")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read_agedb(str(tmp_path))
    savemat(str(tmp_path / AGEDB_LIST), {"pairs": np.zeros(3)})
    with pytest.raises(InputError, match="has no variable splits"):
        read_agedb(str(tmp_path))


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


@pytest.mark.parametrize("name", TEXT)
def test_utf_8_with_its_mark_and_what_is_none(copied, name):
    root = copied(name)
    path = root / LISTS[name]
    before = tuples(READERS[name](str(root)))
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert tuples(READERS[name](str(root))) == before
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], b"Ren\xe9 1 2", *lines[3:]]))
    with pytest.raises(InputError, match=r"line 3: 'Ren\\xe9 1 2' is not UTF-8; save the list as UTF-8"):
        READERS[name](str(root))
