import io
import struct

import numpy as np
import pandas as pd
import pytest
from tiny_sets import MAGIC, framed, header, picture, write_recordio

from ddl_tf.data.recordio import read_record, recordio_source, unpack_record
from ddl_tf.data.sample import Sample
from ddl_tf.data.source import Problem
from ddl_tf.errors import InputError

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


def test_parts_out_of_order_are_refused():
    middle = MAGIC + struct.pack("<I", 2 << 29)
    begin = MAGIC + struct.pack("<I", 1 << 29)
    with pytest.raises(ValueError, match="later part"):
        read_record(io.BytesIO(middle))
    with pytest.raises(ValueError, match="last part is missing"):
        read_record(io.BytesIO(begin + framed(b"whole")))


def test_labels_of_a_record():
    record = unpack_record(header([3, 7.5]) + b"image")
    np.testing.assert_array_equal(record.labels, [3, 7.5])
    assert record.content == b"image"
    assert unpack_record(header(4) + b"x").labels.tolist() == [4]
    with pytest.raises(ValueError, match="too few"):
        unpack_record(b"short")
    with pytest.raises(ValueError, match="fewer than the 2 labels"):
        unpack_record(header([1, 2])[:-1])


@pytest.mark.parametrize("record_zero", [True, False])
@pytest.mark.parametrize("with_idx", [True, False])
def test_images_and_labels(tmp_path, record_zero, with_idx):
    items = read_all(write_recordio(tmp_path, IMAGES, record_zero, with_idx=with_idx))
    assert [(item.identity, item.image) for item in items] == IMAGES
    first = 1 if record_zero else 0
    assert [item.source for item in items] == [f"{tmp_path}/train.rec, record {first + n}" for n in range(4)]


def test_array_labels_and_an_image_with_the_magic_number(tmp_path):
    awkward = b"\xff\xd8\xff\xe0" + MAGIC * 2 + b"tail"
    items = read_all(write_recordio(tmp_path, [([1, 0], awkward), (0, picture(0))]))
    assert [(item.identity, item.image) for item in items] == [(1, awkward), (0, picture(0))]


def test_reading_goes_on_anywhere(tmp_path):
    source = recordio_source(str(write_recordio(tmp_path, IMAGES)))
    everything = list(source.read(0))
    assert all(list(source.read(start)) == everything[start:] for start in range(5))


@pytest.mark.parametrize("label", [3, -1, 0.5, float("nan"), float("inf")])
def test_label_out_of_range(tmp_path, label):
    *_, item = read_all(write_recordio(tmp_path, [*IMAGES, (label, picture(4))], num_identities=3))
    assert isinstance(item, Problem)
    assert (item.kind, item.source) == ("label out of range", f"{tmp_path}/train.rec, record 5")
    assert "0 to 2" in item.reason


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
    assert [one for one in read if one in IMAGES] == IMAGES[:damaged] + IMAGES[damaged + 1 :]


def test_an_empty_file(tmp_path):
    (tmp_path / "train.rec").touch()
    with pytest.raises(InputError, match="there are no records in it"):
        recordio_source(str(tmp_path / "train.rec"))


def test_an_unreadable_beginning(tmp_path):
    rec = write_recordio(tmp_path, IMAGES)
    rec.write_bytes(b"oops" + rec.read_bytes()[4:])
    with pytest.raises(InputError, match="record 0: no record begins at byte 0"):
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
    ],
)
def test_unusable_idx(tmp_path, idx, message):
    rec = write_recordio(tmp_path, IMAGES)
    rec.with_suffix(".idx").write_text(idx)
    with pytest.raises(InputError, match=message):
        recordio_source(str(rec))


def test_identities_come_from_the_property_file(tmp_path):
    rec = write_recordio(tmp_path, IMAGES, num_identities=5)
    assert list(recordio_source(str(rec)).identities) == [0, 1, 2, 3, 4]
    (tmp_path / "property").write_text("many")
    with pytest.raises(InputError, match="'many' is not the number of identities"):
        recordio_source(str(rec))
    (tmp_path / "property").unlink()
    assert list(recordio_source(str(rec)).identities) == [0, 1, 2, 3, 4]  # from record 0


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
        ("index,group\n1,easy\n", "line 2: group 'easy'"),
        ("index,a,a\n1,2,3\n", "two columns"),
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
