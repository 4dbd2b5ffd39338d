import io
import struct

import numpy as np
import pandas as pd
import pytest
from tiny_sets import MAGIC, framed, header, picture, pipe, write_recordio

from ddl_tf.common.errors import InputError
from ddl_tf.importers import recordio_index
from ddl_tf.importers.recordio import read_record, recordio_source, scan_offsets, unpack_record
from ddl_tf.importers.source import Problem, Sample

IMAGES = [(0, picture(0)), (0, picture(1)), (1, picture(2)), (2, picture(3))]


def read_all(rec, csv=None):
    source = recordio_source(str(rec), csv and str(csv))
    items = list(source.read(0))
    assert len(items) == source.count
    return items


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        MAGIC,
        MAGIC + MAGIC,
        b"1234" + MAGIC + b"567",
        b"123" + MAGIC + b"567",  # not at a multiple of 4: left as it is
        b"1234" + MAGIC + b"5678" + MAGIC + b"9",
    ],
)
def test_records_of_one_and_of_several_parts(content):
    file = io.BytesIO(framed(content) + framed(b"the next"))
    assert read_record(file) == content
    assert read_record(file) == b"the next"


def test_damaged_records():
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
    first = 1 if record_zero else 0
    assert [item.source for item in items] == [f"{tmp_path}/train.rec, record {first + n}" for n in range(4)]


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


def test_labels_out_of_range(tmp_path):
    labels = [3, -1, 0.5, float("nan"), float("inf")]
    images = [(label, picture(4)) for label in labels]
    items = read_all(write_recordio(tmp_path, [*IMAGES, *images], num_identities=3))[4:]
    assert all(isinstance(item, Problem) and "0 to 2" in item.reason for item in items)
    expected = [("label out of range", f"{tmp_path}/train.rec, record {n}") for n in range(5, 10)]
    assert [(item.kind, item.source) for item in items] == expected


@pytest.mark.parametrize("with_idx", [True, False])
def test_truncated_file(tmp_path, with_idx):
    rec = write_recordio(tmp_path, IMAGES, record_zero=False, with_idx=with_idx)
    rec.write_bytes(rec.read_bytes()[:-40])
    *whole, cut = read_all(rec)
    assert [item.image for item in whole] == [image for _, image in IMAGES[:3]]
    assert (cut.kind, cut.source) == ("truncated record", f"{rec}, record 3")
    assert "the file ends after" in cut.reason


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


@pytest.mark.parametrize("tail", [MAGIC, MAGIC + b"ab", MAGIC + b"abc", b"ab"])
def test_scanning_ends_where_a_record_is_cut_in_its_head(tmp_path, tail):
    rec = write_recordio(tmp_path, IMAGES, record_zero=False, with_idx=False)
    rec.write_bytes(rec.read_bytes() + tail)
    items = read_all(rec)
    assert [item.image for item in items[:4]] == [image for _, image in IMAGES]
    assert [item.kind for item in items[4:]] == ["truncated record"]


@pytest.mark.parametrize(
    ("beginning", "message"),
    [
        (b"", "there are no records in it"),
        (b"oops", "record 0: no record begins at byte 0"),
        *(
            (framed(header(labels)), r"record 0: images end at .* which cannot be; get the set anew")
            for labels in (
                *([float("nan"), 8], [5, float("nan")], [float("inf")] * 2, [1e30, 2e30], [3e9, 3e9 + 512]),
                *([-5, 8], [9, 5], [4.5, 8]),
            )
        ),
        (framed(header([2e8, 2e8 + 16])), r"record 0 tells of [\d,]+ images, and the file has 8 records; it is cut"),
    ],
)
def test_an_unusable_beginning(tmp_path, beginning, message):
    rec = write_recordio(tmp_path, IMAGES)
    rec.write_bytes(beginning and beginning + rec.read_bytes()[len(beginning) :])
    if not beginning:
        rec.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match=message):
        recordio_source(str(rec))


def test_a_record_that_the_idx_lacks(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    lines = rec.with_suffix(".idx").read_text().splitlines(keepends=True)
    rec.with_suffix(".idx").write_text("".join(lines[:2] + lines[3:]))
    items = read_all(rec)
    assert [isinstance(item, Sample) for item in items] == [True, False, True, True]
    assert items[1].kind == "missing record"


@pytest.mark.parametrize(
    ("idx", "message"),
    [
        ("0\t0\nx\t3\n", "not lines of a record number and an offset"),
        ("0\t0\n0\t8\n", "record 0 comes twice"),
        ("", r"train\.idx: it is empty"),
        (" \n", r"train\.idx: it is empty"),
        ("0\t0\n1\t1.5\n", r"it holds '\.'\); without the file"),
        ("0\t-8\n", "it holds '-'"),
        (f"0\t{10**22}\n", "a number has more than 18 digits"),
        ("0\t0\n1\t\u00b2\n", "not lines of a record number and an offset"),
        ("0\t0\n1\n", "not lines of a record number and an offset"),
        ("0\t0\n1\t0\n", r"two records have one offset; remove it"),
        (f"0\t{10**15}\n1\t{10**15 + 1}\n", r"train\.idx does not fit .*train\.rec: 2 of 2 offsets hit no record; "),
    ],
)
def test_unusable_idx(tmp_path, idx, message):
    rec = write_recordio(tmp_path, IMAGES)
    rec.with_suffix(".idx").write_text(idx)
    with pytest.raises(InputError, match=message):
        recordio_source(str(rec))


def test_the_idx_of_another_rec_is_refused_and_not_skipped(tmp_path):
    rec = write_recordio(tmp_path, [(n % 3, picture(n, size=16 + n)) for n in range(12)], record_zero=False)
    right = read_all(rec)
    rec.with_suffix(".idx").write_text("".join(f"{n}\t{n * 1000}\n" for n in range(12)))
    with pytest.raises(InputError, match=r"does not fit .*: 11 of 12 offsets hit no record; remove it") as caught:
        recordio_source(str(rec))
    assert "skip" not in str(caught.value)
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1,112,112", r"labels 0\.\.2, property 1: 2 of 4 labels are beyond it; correct or remove"),
        (b"999999999999,112,112", "property tells of 999,999,999,999 identities, and .* has 8 records; correct"),
        ("\u00b2,112,112".encode(), "'\u00b2' is not the number of identities"),
        (b"9" * 5000, "is not the number of identities"),
        (b"\xff\xfe\x00\x01" * 100, "is not the number of identities"),
        *((text.encode(), f"'{text}' is not the number of identities") for text in ("-3", "many", "")),
        (b"0,112,112", "'0' is not the number"),
    ],
)
def test_unusable_property(tmp_path, text, message):
    rec = write_recordio(tmp_path, IMAGES)
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
    sizes = []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            content = super().read(size)
            sizes.append(len(content))
            return content

    count = 20_000
    file = Counted(MAGIC * count)
    for offset in scan_offsets(file).tolist():
        file.seek(offset)
        with pytest.raises(ValueError, match="the file ends"):
            read_record(file)
    # All of the rest each time would be 40 kB on average.
    assert sum(sizes) < 5000 * count


def test_csv_is_merged(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    table = pd.DataFrame(
        {"index": [4, 2, 1, 3], "yaw": [0.4, 0.2, 0.1, 0.3], "group": [1, 0, -1, 1], "by": list("dbac")}
    )
    table.to_csv(tmp_path / "train.csv", index=False)
    items = read_all(rec, tmp_path / "train.csv")
    assert [item.columns for item in items] == [{"yaw": n / 10, "by": "abcd"[n - 1]} for n in (1, 2, 3, 4)]
    assert [item.group for item in items] == [-1, 0, 1, 1]

    table[:3].to_csv(tmp_path / "train.csv", index=False)
    items = read_all(rec, tmp_path / "train.csv")
    assert [getattr(item, "kind", None) for item in items] == [None, None, "missing row", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,yaw\n1,2\n", "no column 'index'"),
        ("index,yaw\n9,2\n", "line 2: the set has no image record '9'"),
        ("index,yaw\n1,2\n1.0,2\n", "line 3: the set has no image record '1.0'"),
        ("index,yaw\n1,2\n\u0661,2\n", "line 3: the set has no image record"),
        (f"index,yaw\n1,2\n{10**30},2\n", "line 3: the set has no image record"),
        ("index,yaw\n2,2\n1,2\n\n1,2\n", "line 5: record 1 comes twice"),
        ("index,yaw\n1,2,3\n", "line 2: 3 cells under 2"),
        ("index,group\n1,0\n2,-2\n", "line 3: group -2"),
    ],
)
def test_unusable_csv(tmp_path, text, message):
    rec = write_recordio(tmp_path, IMAGES)
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        recordio_source(str(rec), str(tmp_path / "train.csv"))


def naive_records(rec):
    content, position = rec.read_bytes(), 0
    while position < len(content):
        _, length = struct.unpack_from("<II", content, position)
        yield content[position + 8 : position + 8 + length]
        position += 8 + (length + 3) // 4 * 4


def test_celeba(real_faces):
    rec = real_faces / "celeba/train.rec"
    items = read_all(rec, rec.with_suffix(".csv"))
    assert len(items) == 15980
    assert len({item.identity for item in items}) == 5561
    table = pd.read_csv(rec.with_suffix(".csv"))
    assert [item.identity for item in items] == table["label"].tolist()
    np.testing.assert_allclose([item.columns["yaw_proxy"] for item in items], table["yaw_proxy"])
    images = [content[24:] for content in naive_records(rec)][1:15981]
    assert [item.image for item in items] == images
