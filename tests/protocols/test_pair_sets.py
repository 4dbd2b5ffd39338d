import pickle

import numpy as np
import pytest
from refusals import problems_of
from tiny_sets import list_source, picture, samples

from ddl_tf.common.errors import InputError
from ddl_tf.data.layout import PAIRS
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.protocols.pair_sets import pair_source, pairs_table, read_bin, read_lfw, read_stored


def write_bin(path, bins, same):
    path.write_bytes(pickle.dumps((bins, same), protocol=2))
    return str(path)


def test_bin(tmp_path):
    for image_format in ("JPEG", "PNG"):
        bins = [picture(n, image_format=image_format) for n in range(8)]
        stored = bins if image_format == "JPEG" else [np.frombuffer(image, np.uint8) for image in bins]
        pair_set = read_bin(write_bin(tmp_path / "tiny.bin", stored, np.array([1, 0, 0, 1])))
        assert pair_set.name == "tiny"
        assert list(pair_set.images) == bins
        assert (pair_set.first.tolist(), pair_set.second.tolist()) == ([0, 2, 4, 6], [1, 3, 5, 7])
        assert pair_set.same.tolist() == [True, False, False, True]
    # A photo that is twice in it is one image; the embeddings stay those of all places.
    images = [picture(n) for n in (0, 1, 2, 0, 1, 3)]
    pair_set = read_bin(write_bin(tmp_path / "tiny.bin", images, [True, False, False]))
    assert pair_set.copy_of.tolist() == [0, 1, 2, 0, 1, 5]
    assert (pair_set.first.tolist(), pair_set.second.tolist()) == ([0, 2, 4], [1, 3, 5])


def test_unusable_bin(tmp_path):
    path = tmp_path / "tiny.bin"
    for content, message in (
        ([[picture(0)] * 3, [True]], "3 images for 1 pairs, not two for each"),
        ([[picture(0)] * 2], "holds no pair of lists"),
        ({"bins": []}, "holds no pair of lists"),
        ([[picture(0), b"GIF89a"], [True]], "image 1 is no JPEG or PNG, but 6 bytes that begin b'GIF8'"),
        ([[picture(0), np.zeros(3)], [True]], "image 1 is no JPEG or PNG, but of ndarray"),
        ([[picture(0)] * 2, [2]], "pair 0 is marked 2"),
        ([[picture(0)] * 2, [None]], "pair 0 is marked None"),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=rf"tiny\.bin: {message}"):
            read_bin(str(path))
    # Everything that is wrong is listed.
    path.write_bytes(pickle.dumps(([picture(0), b"GIF89a", b"", picture(1)], [True, 7])))
    reasons = ["pair 1 is marked 7", "image 1 is no JPEG or PNG", "image 2 is no JPEG or PNG"]
    assert [reason.split(",")[0] for _, _, reason in problems_of(read_bin, path)] == reasons


@pytest.fixture
def lfw(tmp_path):
    """Ann has three images, Bob two, Cy one (a PNG)."""
    names = [*(f"Ann_A/Ann_A_000{n}.jpg" for n in (1, 2, 3)), "Bob/Bob_0001.jpg", "Bob/Bob_0002.jpg", "Cy/Cy_0001.png"]
    for number, name in enumerate(names):
        (tmp_path / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / name).write_bytes(picture(number))
    return tmp_path / "lfw"


FOLDS = ["Ann_A\t1\t3", "Ann_A\t1\tBob\t2", "Bob\t1\t2", "Bob\t1\tCy\t1"]


def read_list(lfw, *lines):
    path = lfw.with_name("pairs.txt")
    path.write_text("\n".join(lines) + "\n")
    return read_lfw(str(lfw), str(path))


def test_lfw_views_1_and_2(lfw):
    (lfw / "Ann_A/Ann_A_0003.jpg").rename(lfw / "Ann_A/Ann_A_0003.Jpeg")
    (lfw / "Bob/Bob_0002.jpg").rename(lfw / "Bob/Bob_0002.JPG")
    view_1 = read_list(lfw, "2", FOLDS[0], FOLDS[2], FOLDS[1], FOLDS[3], "")
    assert view_1.same.tolist() == [True, True, False, False]
    assert view_1.fold.tolist() == [0, 1, 2, 3]
    pair_set = read_list(lfw, "\ufeff2\t1", *FOLDS)
    assert pair_set.name == "lfw_pairs"
    images = [(pair_set.images[a], pair_set.images[b]) for a, b in zip(pair_set.first, pair_set.second)]
    assert images == [(picture(a), picture(b)) for a, b in [(0, 2), (0, 4), (3, 4), (3, 5)]]
    assert pair_set.same.tolist() == [True, False, True, False]
    assert pair_set.fold.tolist() == [0, 0, 1, 1]
    assert (len(pair_set.images), pair_set.images[-1]) == (5, picture(5))
    output = str(lfw.with_name("stored"))
    source, tables = pair_source(pair_set, "lfw", "pairs.txt"), {PAIRS: pairs_table(pair_set)}
    write_set(source, StoreSettings(output=output), tables=tables)
    stored = read_stored(output)
    assert (stored.name, list(stored.images)) == ("stored", list(pair_set.images))
    for name in ("first", "second", "same", "fold"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(pair_set, name))
        assert getattr(stored, name).dtype == getattr(pair_set, name).dtype


def test_unusable_stored_set(tmp_path):
    settings = StoreSettings(output=str(tmp_path / "faces"))
    damaged = read_bin(write_bin(tmp_path / "a.bin", [picture(0), picture(1, 64)[:-300]], [True]))
    with pytest.raises(InputError, match=r"a\.bin, image 1: corrupt image: .*; mend or remove it$"):
        write_set(pair_source(damaged, "bin", "a.bin"), StoreSettings(output=str(tmp_path / "stored")))
    write_set(list_source(samples(3)), settings)
    with pytest.raises(InputError, match="a stored set without pairs"):
        read_stored(settings.output)
    table = pairs_table(read_bin(write_bin(tmp_path / "a.bin", [picture(n) for n in range(4)], [True, False])))
    missing = table.drop(columns="fold"), "the column 'fold' is missing"
    for columns, message in ((table, r"pairs\.parquet: names images that the set does not have"), missing):
        columns.to_parquet(tmp_path / "faces/pairs.parquet")
        with pytest.raises(InputError, match=message):
            read_stored(settings.output)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ann_A 1 2", "line 1: 'Ann_A 1 2' is not"),
        ("0", "there are no pairs"),
        ("\n".join(["2 1", *FOLDS[:3]]), "3 pairs, where the first line says 2 x 2 x 1"),
        ("1\nAnn_A 1 2\nBob x Cy 1", "line 3: 'Bob x Cy 1' is not"),
        ("1\nAnn_A 1 2\nBob 1 Dee 1", r"line 3: there is no image .*/lfw/Dee/Dee_0001\.jpg"),
        ("1\nAnn_A 1 2\nAnn_A 1 Bób 1\n".encode("latin-1"), r"line 3: 'Ann_A 1 B\\xf3b 1' is not UTF-8"),
        ("1\nAnn_A 1 2\nAnn_A 1 Bob 1\n".encode("utf-16"), "line 1: .* is UTF-16, or no text; save the list as UTF-8"),
        ("1" * 5000, "line 1: '1111.*' is not `folds pairs`"),
        (f"1\nAnn_A 1 {'9' * 5000}\nAnn_A 1 Bob 1\n", "line 2: 'Ann_A 1 9999.*' is not `name i j`"),
        ("1\nAnn_A 1 ../Bob 1\nAnn_A 1 2\n", r"line 2: 'Ann_A 1 ../Bob 1' is not"),
        ("1\nAnn_A 1 1\nAnn_A 1 Bob 1\n", r"1 pair of an image with itself \(.*line 2: 'Ann_A 1 1'\)"),
        ("1\nAnn_A 1 2\nAnn_A 1 Ann_A 3\n", r"1 different pair of one person \(.*line 3: 'Ann_A 1 Ann_A 3'\)"),
    ],
)
def test_a_home_made_list_is_refused_by_line_and_text(lfw, content, message):
    path = lfw.with_name("pairs.txt")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        read_lfw(str(lfw), str(path))
    text = str(error.value)
    assert (str(path) in text, "\n" in text, len(text) < 600) == (True, False, True)
