import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_sets import damage_image, picture, store, stored_faces

from ddl_tf.common.errors import InputError
from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.data.pipeline import READERS, check_rows, training_dataset
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.settings import AugmentationSettings
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Sample

SIZE = 16
PLAIN = build_augmentation(AugmentationSettings(flip=False))
SIZES = StreamSizes(shuffled=3, per_group=2, pairs_per_group=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 PNG images of 4 people, half of them of group 1."""
    path = tmp_path_factory.mktemp("set") / "faces"
    samples = [Sample(picture(n, SIZE, "PNG"), f"person {n // 6}", f"item {n}", n % 2) for n in range(24)]
    store(samples, path)
    return path


@pytest.fixture
def faces(folder):
    return Faces([str(folder)])


@pytest.fixture
def sampler(faces):
    return StreamSampler(faces.index, SIZES, seed=3)


def batches(faces, sampler, first, last, augment=PLAIN, size=SIZE, threads=None, shard=(0, 1)):
    dataset = training_dataset(faces, sampler, augment, (size, size), first, last, 5, shard)
    if threads:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = dataset.with_options(options)
    return list(dataset.as_numpy_iterator())


def test_a_batch_has_the_labels_of_the_rows_of_its_step(faces, sampler):
    for step, (inputs, targets) in zip((2, 3), batches(faces, sampler, 2, 4)):
        rows = sampler.rows(step)
        np.testing.assert_array_equal(targets["embedding"], np.stack([rows.identity, rows.group], 1))
        for labels in (inputs["label"], targets["logits"]):
            np.testing.assert_array_equal(labels, rows.label)
        # 3 shuffled and 2 x 2 rows of the groups are classified, 2 x 2 pairs are not.
        assert (rows.label >= 0).sum() == 7
        assert (rows.label == -1).sum() == 8
        identity = faces.index["identity"].to_numpy()[rows.record]
        np.testing.assert_array_equal(rows.identity, identity)
        np.testing.assert_array_equal(rows.label[rows.label >= 0], identity[rows.label >= 0])


def test_the_workers_together_read_and_have_the_rows_of_one_process(faces, sampler, monkeypatch):
    count, read, records = 3, [], faces.records
    augment = build_augmentation(AugmentationSettings(augment_probability=1.0, augment_crop=0.5, augment_colour=0.5))
    whole = batches(faces, sampler, 0, 3, augment)
    monkeypatch.setattr(faces, "records", lambda rows: read.extend(rows) or records(rows))
    parts = [batches(faces, sampler, 0, 3, augment, shard=(index, count)) for index in range(count)]
    assert sorted(read) == sorted(np.concatenate([sampler.rows(step).record for step in range(3)]))
    for batch, *parts_of_step in zip(whole, *parts):
        # 15 rows; their augmentation goes by their number in the whole batch.
        assert [len(inputs["label"]) for inputs, _ in parts_of_step] == [15 // count] * count
        np.testing.assert_equal(tf.nest.map_structure(lambda *rows: np.concatenate(rows), *parts_of_step), batch)
    with pytest.raises(InputError, match="the batch of 15 rows cannot be split evenly among 2 workers"):
        batches(faces, sampler, 0, 1, shard=(0, 2))


def test_a_batch_follows_from_its_step_alone(faces, sampler):
    kinds = {"augment_crop": 0.5, "augment_colour": 0.5, "augment_resolution": 0.5, "augment_compression": 0.5}
    augment = build_augmentation(AugmentationSettings(augment_probability=0.5, **kinds))
    whole = batches(faces, sampler, 0, 3, augment)
    for first, threads in ((0, 1), (1, 4)):
        np.testing.assert_equal(batches(faces, sampler, first, 3, augment, threads=threads), whole[first:])
    assert not np.array_equal(whole[0][0]["image"], whole[1][0]["image"])


def test_only_the_chosen_groups_are_degraded(faces, sampler):
    settings = AugmentationSettings(False, augment_grey=1, augment_probability=1, augment_groups=[-1, 0])
    degraded = batches(faces, sampler, 0, 3, build_augmentation(settings))
    for (mine, targets), (plain, _) in zip(degraded, batches(faces, sampler, 0, 3)):
        group, same = targets["embedding"][:, 1], np.all(mine["image"] == plain["image"], axis=(1, 2, 3))
        np.testing.assert_array_equal(same, group == 1)
        assert set(group) == {-1, 0, 1}


def encoded(number, shape, image_format, **options):
    """Noise of a shape, `[height, width]` for a grey image."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(file, image_format, quality=90, **options)
    return file.getvalue()


ALIKE = ((SIZE, SIZE, 3), (SIZE, SIZE, 3), (SIZE, SIZE, 3), (SIZE, SIZE))
MIXED = ((SIZE, SIZE, 3), (SIZE, SIZE), (40, 25, 3), (9, 12), (30, 16, 3))
STRONG = {"augment_colour": 0.7, "augment_resolution": 0.7, "augment_probability": 0.6, "augment_groups": [-1]}


@pytest.mark.parametrize(
    "shapes, size, each",
    [(ALIKE, SIZE, [{"flip": True}, STRONG]), (ALIKE, 8, [{"flip": False}, STRONG]), (MIXED, SIZE, [{"flip": True}])],
    ids=["alike", "smaller", "mixed"],
)
def test_a_batch_is_what_its_images_are_one_by_one(tmp_path, shapes, size, each):
    images = [encoded(n, shape, kind) for n, shape in enumerate(shapes) for kind in ("JPEG", "PNG")]
    samples = [Sample(image, f"person {n % 2}", f"item {n}", n % 2) for n, image in enumerate(images)]
    faces = stored_faces(samples, tmp_path / "set")
    assert faces.image_size == ((SIZE, SIZE) if shapes == ALIKE else None)
    sampler = StreamSampler(faces.index, StreamSizes(shuffled=10), seed=3)
    # No thread tunes it, and a waiting sampler leaves threads to the steps before it.
    options = training_dataset(faces, sampler, PLAIN, (size, size), 0, 1).options()
    assert options.autotune.enabled is False
    assert options.threading.private_threadpool_size > READERS
    for settings in each:
        augment = build_augmentation(AugmentationSettings(**settings))
        for step, (inputs, _) in enumerate(batches(faces, sampler, 0, 2, augment, size)):
            assert inputs["image"].dtype == np.float32
            expected = []
            for n, record in enumerate(sampler.rows(step).record):
                pixels = tf.cast(faces.image(record), tf.float32)
                if pixels.shape[:2] != (size, size):
                    pixels = tf.image.resize(pixels, (size, size), antialias=True)
                expected.append(augment(pixels, tf.constant([5, step * 10 + n], tf.int64)))
            # In a larger graph the last bits of a degraded image differ.
            np.testing.assert_allclose(inputs["image"], expected, rtol=0, atol=1e-3 if settings == STRONG else 0)


def test_the_image_that_stopped_it_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "faces")
    damage_image(tmp_path / "faces", 20)
    faces = Faces([str(tmp_path / "faces")])
    sampler = StreamSampler(faces.index, StreamSizes(shuffled=24))
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(faces, sampler, 0, 1)
    place = rf"shard-00000.tfrecord: .* {faces.index['offset'][20]:,} \(row 20, identity person 3\)"
    with pytest.raises(InputError, match=place):
        check_rows(faces, sampler.rows(0).record)
    check_rows(faces, np.arange(20))


def test_sets_that_were_stored_turned_are_trained_on_upright(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(n, (SIZE, SIZE, 3), "JPEG", exif=exif) for n in range(8)]
    # As earlier versions did, whatever EXIF said.
    monkeypatch.setattr("ddl_tf.data.shards.upright_bytes", lambda file: file)
    faces = stored_faces([Sample(file, n // 2, f"item {n}") for n, file in enumerate(files)], tmp_path / "set")
    upright = [np.asarray(Image.open(io.BytesIO(file)).transpose(Image.Transpose.ROTATE_270)) for file in files]
    np.testing.assert_array_equal([faces.image(row) for row in range(8)], upright)
    sampler = StreamSampler(faces.index, StreamSizes(shuffled=8), seed=3)
    ((inputs, _),) = batches(faces, sampler, 0, 1)
    np.testing.assert_array_equal(inputs["image"], [upright[row] for row in sampler.rows(0).record])
