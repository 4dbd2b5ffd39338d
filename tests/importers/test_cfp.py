import pytest
from tiny_sets import picture

from ddl_tf.common.errors import InputError
from ddl_tf.importers.cfp import CFP, cfp_source
from ddl_tf.protocols.pair_sets import read_cfp

# Two identities a fold; each has two frontal images and a profile one.
PEOPLE = ["001", "002", "003", "004"]


def write_cfp(root, official):
    """A tiny CFP in one of the two layouts, the official one with UTF-8's mark before each list."""
    encoding = "utf-8-sig" if official else "utf-8"
    protocol = root / ("Protocol" if official else "protocol")
    split = protocol / "Split" if official else protocol
    images = root / ("Data/Images" if official else "images")
    prefix = "../Data/Images" if official else "images"
    lists, number = {"F": [], "P": []}, 0
    for person in PEOPLE:
        for view, name in (("frontal", "01"), ("frontal", "02"), ("profile", "01")):
            (images / person / view).mkdir(parents=True, exist_ok=True)
            (images / person / view / f"{name}.jpg").write_bytes(picture(number))
            lists["FP"[view == "profile"]].append(f"{prefix}/{person}/{view}/{name}.jpg")
            number += 1
    for fold, (a, b) in enumerate([(0, 1), (2, 3)], 1):
        for kind, same, different in (
            ("FF", [(2 * a + 1, 2 * a + 2), (2 * b + 1, 2 * b + 2)], [(2 * a + 1, 2 * b + 1), (2 * a + 2, 2 * b + 2)]),
            ("FP", [(2 * a + 1, a + 1), (2 * b + 2, b + 1)], [(2 * a + 1, b + 1), (2 * b + 1, a + 1)]),
        ):
            folder = split / kind / f"{fold:02d}"
            folder.mkdir(parents=True)
            for name, pairs in (("same", same), ("diff", different)):
                (folder / f"{name}.txt").write_text("".join(f"{i},{j}\n" for i, j in pairs), encoding)
    for view, paths in lists.items():
        lines = (f"{n} {path}\n" for n, path in enumerate(paths, 1))
        (protocol / f"Pair_list_{view}.txt").write_text("".join(lines), encoding)
    return root


@pytest.fixture(params=[False, True], ids=["short", "official"])
def cfp(request, tmp_path):
    return write_cfp(tmp_path / "cfp", request.param)


def test_the_training_set_the_pairs_and_a_missing_image(cfp):
    source = cfp_source(str(cfp), [2])
    items = list(source.read(0))
    assert [item.identity for item in items] == ["003"] * 3 + ["004"] * 3
    assert [item.columns["view"] for item in items] == ["frontal", "frontal", "profile"] * 2
    assert [item.group for item in items] == [0, 0, 1] * 2
    assert [item.columns["fold"] for item in items] == [2] * 6
    assert [item.image for item in items] == [picture(n) for n in range(6, 12)]
    assert source.identities == ["003", "004"]
    assert list(source.read(4)) == items[4:]
    pair_set = read_cfp(str(cfp), "FP", [1, 2])
    assert pair_set.name == "cfp_fp"
    assert pair_set.same.tolist() == [True, True, False, False] * 2
    assert pair_set.fold.tolist() == [0] * 4 + [1] * 4
    images = [(pair_set.images[a], pair_set.images[b]) for a, b in zip(pair_set.first, pair_set.second)]
    expected = [(0, 2), (4, 5), (0, 5), (3, 2), (6, 8), (10, 11), (6, 11), (9, 8)]
    assert images == [(picture(a), picture(b)) for a, b in expected]
    assert read_cfp(str(cfp), "FF", [2]).fold.tolist() == [1] * 4
    next(cfp.glob("**/003/profile/01.jpg")).unlink()
    with pytest.raises(InputError, match=r"003/profile/01\.jpg: there is no such image"):
        read_cfp(str(cfp), "FP", [1, 2])
    problem = list(cfp_source(str(cfp), [2]).read(0))[2]
    assert (problem.kind, problem.source) == ("missing file", str(CFP(str(cfp)).images["P"][3]))


def test_unusable_input(tmp_path):
    root = write_cfp(tmp_path / "cfp", official=False)
    same, listed = root / "protocol/FP/01/same.txt", root / "protocol/Pair_list_P.txt"
    for fold in (10, 9):
        (root / f"protocol/FF/{fold:02d}").mkdir()
    for read, arguments, message in (
        (cfp_source, (str(root), [1, 3]), "CFP has no fold 3 of FF there; choose of 1, 2, 9, 10$"),
        (read_cfp, (str(root), "FF", [1, 1]), "folds 1,1 of CFP: one is there twice"),
        (read_cfp, (str(root), "FF", []), "no fold of CFP is chosen"),
        (read_cfp, (str(root), "PP", [1]), "CFP protocol 'PP': use FF or FP"),
        (cfp_source, (str(tmp_path), [1]), "not CFP, neither"),
    ):
        with pytest.raises(InputError, match=message):
            read(*arguments)
    for text in ("1,99\n", "1\n", "1,2,3\n", "a,b\n", "1,\u00b2\n", f"1,{'9' * 5000}\n"):
        same.write_text("1,1\n" + text, encoding="utf-8")
        message = rf"same\.txt, line 2: '{text[:5].strip()}.*' is not two numbers of images"
        with pytest.raises(InputError, match=message):
            read_cfp(str(root), "FP", [1])
    for path, text, message in (
        (same, "1,3\n", "identity 003 is in the folds 2 and 1"),
        (listed, "1 images/x.jpg\n", r"Pair_list_P\.txt, line 1: '1 images/x.jpg' is not a number and"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            cfp_source(str(root), [1, 2])
