import io
import struct

import numpy as np
import pandas as pd
import pytest
from tiny_sets import MAGIC, framed, header, picture, pipe, write_recordio

from ddl_tf.common.errors import InputError
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.importers import recordio_index
from ddl_tf.importers.recordio import read_record, recordio_source, scan_offsets, unpack_record
from ddl_tf.importers.source import Problem, Sample

IMAGES = [(0, picture(0)), (0, picture(1)), (1, picture(2)), (2, picture(3))]


def read_all(rec, csv=None):
    source = recordio_source(str(rec), csv and str(csv))
    items = list(source.read(0))
    assert len(items) == source.count
    return items


def test_records_of_one_and_of_several_parts():
    for content in (
        b"",
        MAGIC + MAGIC,
        b"123" + MAGIC + b"567",  # not at a multiple of 4: left as it is
        b"1234" + MAGIC + b"5678" + MAGIC + b"9",
    ):
        file = io.BytesIO(framed(content) + framed(b"the next"))
        assert [read_record(file), read_record(file)] == [content, b"the next"]
    middle, first = (MAGIC + struct.pack("<I", flag << 29) for flag in (2, 1))
    for content, message in ((middle, "later part"), (first + framed(b"whole"), "last part is missing")):
        with pytest.raises(ValueError, match=message):
            read_record(io.BytesIO(content))
    for content, message in ((b"short", "too few"), (header([1, 2])[:-1], "fewer than the 2 labels")):
        with pytest.raises(ValueError, match=message):
            unpack_record(content)


@pytest.mark.parametrize("record_zero", [True, False])
@pytest.mark.parametrize("with_idx", [True, False])
def test_images_and_labels(tmp_path, record_zero, with_idx):
    rec = write_recordio(tmp_path, IMAGES, record_zero, with_idx=with_idx)
    items = read_all(rec)
    assert all(list(recordio_source(str(rec)).read(start)) == items[start:] for start in range(5))
    assert [(item.identity, item.image) for item in items] == IMAGES
    assert [item.source for item in items] == [f"{tmp_path}/train.rec, record {record_zero + n}" for n in range(4)]


def test_array_labels_the_magic_number_in_an_image_and_byte_order_marks(tmp_path):
    awkward = b"\xff\xd8\xff\xe0" + MAGIC * 2 + b"tail"
    rec = write_recordio(tmp_path, [([1, 0], awkward), (0, picture(0))], num_identities=5)
    for file in (rec.with_suffix(".idx"), tmp_path / "property"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert list(recordio_source(str(rec)).identities) == [0, 1, 2, 3, 4]
    (tmp_path / "property").unlink()
    assert list(recordio_source(str(rec)).identities) == [0, 1, 2, 3, 4]
    items = read_all(rec)
    assert [(item.identity, item.image) for item in items] == [(1, awkward), (0, picture(0))]


def test_problems_in_their_places(tmp_path):
    labels = [3, -1, 0.5, float("nan"), float("inf")]
    images = [(label, picture(4)) for label in labels]
    items = read_all(write_recordio(tmp_path, [*IMAGES, *images], num_identities=3))[4:]
    assert all("0 to 2" in item.reason for item in items)
    expected = [("label out of range", f"{tmp_path}/train.rec, record {n}") for n in range(5, 10)]
    assert [(item.kind, item.source) for item in items] == expected
    # A record that the .idx lacks.
    rec = write_recordio(tmp_path, IMAGES)
    lines = rec.with_suffix(".idx").read_text().splitlines(keepends=True)
    rec.with_suffix(".idx").write_text("".join(lines[:2] + lines[3:]))
    assert [getattr(item, "kind", None) for item in read_all(rec)] == [None, "missing record", None, None]
    # A file that is cut, in a record or in the head of one more.
    for with_idx, tail in ((True, None), (False, None), (False, MAGIC), (False, MAGIC + b"ab"), (False, b"ab")):
        rec.with_suffix(".idx").unlink(missing_ok=True)
        write_recordio(tmp_path, IMAGES, record_zero=False, with_idx=with_idx)
        rec.write_bytes(rec.read_bytes() + tail if tail else rec.read_bytes()[:-40])
        *whole, cut = read_all(rec)
        assert [item.image for item in whole] == [image for _, image in IMAGES[: 4 if tail else 3]]
        assert cut.kind == "truncated record"
        assert tail or (cut.source, "the file ends after" in cut.reason) == (f"{rec}, record 3", True)


@pytest.mark.parametrize(("record_zero", "place"), [(False, 0), (True, 0), (False, 4), (False, 7)])
def test_scanning_goes_on_after_a_damaged_record(tmp_path, record_zero, place):
    """Its magic number, its length (which leads into the next record), or what part it is and that it has 16 MB."""
    rec = write_recordio(tmp_path, IMAGES, record_zero)
    begin = int(rec.with_suffix(".idx").read_text().split()[5])
    rec.with_suffix(".idx").unlink()
    content = bytearray(rec.read_bytes())
    content[begin + place] ^= 0x41
    rec.write_bytes(content)
    items = read_all(rec)
    # What is longer than it should be shows at the decoding.
    assert [item.kind for item in items if isinstance(item, Problem)] == ([] if place == 4 else ["truncated record"])
    read = [(item.identity, item.image) for item in items if isinstance(item, Sample)]
    damaged = 1 if record_zero else 2
    assert [image for image in read if image in IMAGES] == IMAGES[:damaged] + IMAGES[damaged + 1 :]


def test_an_unusable_beginning(tmp_path):
    rec, nan, inf = write_recordio(tmp_path, IMAGES), float("nan"), float("inf")
    good = rec.read_bytes()
    impossible = ([nan, 8], [5, nan], [inf, inf], [1e30, 2e30], [3e9, 3e9 + 512], [-5, 8], [9, 5], [4.5, 8])
    for beginning, message in (
        (b"oops", "record 0: no record begins at byte 0"),
        *((framed(header(labels)), r"record 0: images end at .* which cannot be; get the") for labels in impossible),
        (framed(header([2e8, 2e8 + 16])), r"record 0 tells of [\d,]+ images, and the file has 8 records; it is cut"),
    ):
        rec.write_bytes(beginning + good[len(beginning) :])
        with pytest.raises(InputError, match=message):
            recordio_source(str(rec))
    rec.write_bytes(b"")
    rec.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match="there are no records in it"):
        recordio_source(str(rec))


def test_an_unusable_idx(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    for idx, message in (
        ("0\t0\nx\t3\n", "not lines of a record number and an offset"),
        ("0\t0\n0\t8\n", "record 0 comes twice"),
        (" \n", r"train\.idx: it is empty"),
        ("0\t0\n1\t1.5\n", r"it holds '\.'\); without the file"),
        ("0\t-8\n", "it holds '-'"),
        (f"0\t{10**22}\n", "a number has more than 18 digits"),
        ("0\t0\n1\n", "not lines of a record number and an offset"),
        ("0\n1\n", "not lines of a record number and an offset"),
        ("0\t0\n1\t0\n", r"two records have one offset; remove it"),
        (f"0\t{10**15}\n1\t{10**15 + 1}\n", r"train\.idx does not fit .*train\.rec: 2 of 2 offsets hit no record; "),
    ):
        rec.with_suffix(".idx").write_text(idx)
        with pytest.raises(InputError, match=message):
            recordio_source(str(rec))
    # That of another .rec: no problem of its records, which would be skipped.
    rec = write_recordio(tmp_path, [(n % 3, picture(n, size=16 + n)) for n in range(12)], record_zero=False)
    right = read_all(rec)
    rec.with_suffix(".idx").write_text("".join(f"{n}\t{n * 1000}\n" for n in range(12)))
    with pytest.raises(InputError, match=r"does not fit .*: 11 of 12 offsets hit no record; remove it"):
        recordio_source(str(rec))
    rec.with_suffix(".idx").unlink()
    assert read_all(rec) == right


@pytest.mark.parametrize(("has_property", "examined"), [(True, 2), (False, 4096)])
def test_labels_from_1_are_refused_before_the_last_person_is_left_out(tmp_path, monkeypatch, has_property, examined):
    monkeypatch.setattr(recordio_index, "_LOOKED_AT", examined)
    rec = write_recordio(tmp_path, [(n, picture(n)) for n in (3, 1, 4, 2)], num_identities=4)
    if not has_property:
        (tmp_path / "property").unlink()
    advice = "correct or remove property" if has_property else "write the right number into a file `property`"
    with pytest.raises(InputError, match=rf"labels 1\.\.4, .* 4: labels begin at 1; {advice}"):
        read_all(rec)


def test_an_unusable_property(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    for text, message in (
        (b"1,112,112", r"labels 0\.\.2, property 1: 2 of 4 labels are beyond it; correct or remove"),
        (b"999999999999,112,112", "property tells of 999,999,999,999 identities, and .* has 8 records; correct"),
        ("\u00b2,112,112".encode(), "'\u00b2' is not the number of identities"),
        (b"9" * 5000, "is not the number of identities"),
        (b"\xff\xfe\x00\x01" * 100, "is not the number of identities"),
        *((text.encode(), f"'{text}' is not the number of identities") for text in ("-3", "many", "", "0")),
    ):
        (tmp_path / "property").write_bytes(text)
        with pytest.raises(InputError, match=message) as caught:
            recordio_source(str(rec))
        assert len(str(caught.value)) < 500


def test_pipes_are_not_waited_for(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    for name in ("property", "train.idx", "train.rec"):
        pipe(tmp_path / name)
        with pytest.raises(OSError, match="a pipe, device or socket") as caught:
            recordio_source(str(rec))
        assert caught.value.filename == str(tmp_path / name)


def test_lengths_that_lie_do_not_have_the_rest_of_the_file_read_each_time():
    """Every word is the magic number, which as a length is 248 MB."""
    count, sizes = 20_000, []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            sizes.append(len(content := super().read(size)))
            return content

    file = Counted(MAGIC * count)
    for offset in scan_offsets(file).tolist():
        file.seek(offset)
        with pytest.raises(ValueError, match="the file ends"):
            read_record(file)
    # All of the rest each time would be 40 kB on average.
    assert sum(sizes) < 5000 * count


def test_csv_is_merged(tmp_path):
    rec, file = write_recordio(tmp_path, IMAGES), tmp_path / "train.csv"
    columns = {"index": [4, 2, 1, 3], "yaw": [0.4, 0.2, 0.1, 0.3], "group": [1, 0, -1, 1], "by": list("dbac")}
    pd.DataFrame(columns).to_csv(file, index=False)
    items = read_all(rec, file)
    assert [item.columns for item in items] == [{"yaw": n / 10, "by": "abcd"[n - 1]} for n in (1, 2, 3, 4)]
    assert [item.group for item in items] == [-1, 0, 1, 1]
    pd.DataFrame(columns)[:3].to_csv(file, index=False)
    assert [getattr(item, "kind", None) for item in read_all(rec, file)] == [None, None, "missing row", None]
    for text, message in (
        ("key,yaw\n1,2\n", "no column 'index'"),
        ("index,yaw\n9,2\n", "line 2: the set has no image record '9'"),
        ("index,yaw\n1,2\n1.0,2\n", "line 3: the set has no image record '1.0'"),
        (f"index,yaw\n1,2\n{10**30},2\n", "line 3: the set has no image record"),
        ("index,yaw\n2,2\n1,2\n\n1,2\n", "line 5: record 1 comes twice"),
        ("index,group\n1,0\n2,-2\n", "line 3: group -2"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            recordio_source(str(rec), str(file))


def test_celeba(real_faces):
    rec = real_faces / "celeba/train.rec"
    items = read_all(rec, rec.with_suffix(".csv"))
    assert len({item.identity for item in items}) == 5561
    table = pd.read_csv(rec.with_suffix(".csv"))
    assert [item.identity for item in items] == table["label"].tolist()
    np.testing.assert_allclose([item.columns["yaw_proxy"] for item in items], table["yaw_proxy"])
    assert decode_image(items[-1].image).shape == (112, 112, 3)
