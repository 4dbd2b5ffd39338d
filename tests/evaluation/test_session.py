import functools
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import embedding_file, load_embedding_model
from ddl_tf.evaluation import session as session_module
from ddl_tf.evaluation.session import EvaluationSettings, Session
from ddl_tf.evaluation.stored import Outcome, StoredEvaluation
from ddl_tf.importers.image_files import image_files
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.models import build_recognizer

LOAD = functools.lru_cache(maxsize=None)(load_embedding_model)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    path = str(tmp_path_factory.mktemp("run") / "tiny.keras")
    build_recognizer("plain_small", 10, embedding_size=16, input_shape=(16, 16, 3)).save(path)
    return path


@pytest.fixture(autouse=True)
def _each_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(session_module, "load_embedding_model", LOAD)


@pytest.fixture
def files(tmp_path):
    """Ten images of noise in files."""
    random = np.random.RandomState(0)
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for path in paths:
        path.write_bytes(tf.io.encode_png(random.randint(0, 256, [16, 16, 3]).astype(np.uint8)).numpy())
    return paths


def _count_predicted(monkeypatch):
    predicted = []
    predict = embedding_file.predict_embeddings

    def told(model, images, *rest):
        predicted.append(len(images))
        return predict(model, images, *rest)

    monkeypatch.setattr(embedding_file, "predict_embeddings", told)
    return predicted


def test_stored_embeddings_are_taken_up(checkpoint, files, tmp_path, monkeypatch):
    predicted = _count_predicted(monkeypatch)
    settings = EvaluationSettings(model=checkpoint, store=str(tmp_path / "kept"))
    images = image_files(files)
    without = Session(EvaluationSettings(model=checkpoint)).views("a", images)
    first = Session(settings).views("a", images)
    assert first.shape == (10, 2, 16)
    np.testing.assert_allclose(first, without, rtol=1e-5)
    assert predicted == [10]
    again = Session(settings).views("a", images)
    np.testing.assert_array_equal(again, first)
    # One view of two is there, too.
    one = Session(EvaluationSettings(model=checkpoint, store=str(tmp_path / "kept"), flip=False)).views("a", images)
    np.testing.assert_array_equal(one, first[:, :1])
    assert predicted == [10]
    # Other images of the same names are embedded anew.
    files[3].write_bytes(files[4].read_bytes())
    changed = Session(settings).views("a", image_files(files))
    assert predicted == [10, 10]
    np.testing.assert_allclose(changed[3], changed[4], rtol=1e-5)


def test_unit_is_the_normalised_sum_of_the_views(tmp_path):
    views = np.random.RandomState(0).normal(size=[7, 2, 5]).astype(np.float32)
    views[2] = 0
    np.save(tmp_path / "e.npy", views)
    images = [b""] * 7
    given = EvaluationSettings(embeddings=[str(tmp_path / "e.npy")])
    unit = Session(given).unit("a", images)
    for row, (image, mirrored) in zip(unit, views):
        total = image + mirrored
        np.testing.assert_allclose(row, total / (np.linalg.norm(total) or 1), atol=1e-6)
    alone = Session(EvaluationSettings(embeddings=given.embeddings, flip=False)).unit("a", images)
    np.testing.assert_allclose(alone[0], views[0, 0] / np.linalg.norm(views[0, 0]), atol=1e-6)


def test_a_result_never_stands_beside_scores_or_embeddings_of_another(checkpoint, files, tmp_path, monkeypatch):
    settings = EvaluationSettings(model=checkpoint, store=str(tmp_path / "kept"))
    session = Session(settings)
    session.views("a", image_files(files))
    outcome = Outcome({"set": "a"}, {"rank": np.ones(3, int)})
    session.add(outcome)
    result = tmp_path / "kept" / "a" / "result.json"
    # The same embeddings: nothing changes, and the result stays.
    Session(settings).views("a", image_files(files))
    assert result.exists()

    def killed(*_):
        raise KeyboardInterrupt

    # Killed before the new scores have their name, the old ones and their result stay.
    with monkeypatch.context() as patch:
        patch.setattr("ddl_tf.evaluation.stored.write_arrays", killed)
        with pytest.raises(KeyboardInterrupt):
            session.add(outcome)
    assert result.exists()
    # Killed after it, no result is there.
    with monkeypatch.context() as patch:
        replace = os.replace
        patch.setattr("os.replace", lambda old, new: killed() if new == result else replace(old, new))
        with pytest.raises(KeyboardInterrupt):
            session.add(outcome)
    assert not result.exists()
    session.add(outcome)
    assert result.exists()
    files[3].write_bytes(files[4].read_bytes())
    monkeypatch.setattr(embedding_file, "predict_embeddings", killed)
    with pytest.raises(KeyboardInterrupt):
        Session(settings).views("a", image_files(files))
    assert not result.exists()


def test_embeddings_of_a_record_of_old_are_taken_up(checkpoint, files, tmp_path, monkeypatch):
    settings = EvaluationSettings(model=checkpoint, store=str(tmp_path / "kept"))
    Session(settings).views("a", image_files(files))
    path = pathlib.Path(checkpoint)
    record = tmp_path / "kept" / "a" / "embeddings.json"
    new, old = (hashlib.sha256(name + path.read_bytes()).hexdigest() for name in (b"", path.name.encode()))
    assert record.read_text().count(new) == 1
    record.write_text(record.read_text().replace(new, old))
    predicted = _count_predicted(monkeypatch)
    Session(settings).views("a", image_files(files))
    assert predicted == []
    # A copy of another name is the same model.
    record.write_text(record.read_text().replace(old, new))
    shutil.copy(checkpoint, tmp_path / "copy.keras")
    Session(EvaluationSettings(model=str(tmp_path / "copy.keras"), store=settings.store)).views("a", image_files(files))
    assert predicted == []


def _rows(values):
    """Seven embeddings, some of which have one value throughout."""
    rows = np.random.RandomState(0).normal(size=[7, 4])
    for row, value in values.items():
        rows[row] = value
    return rows


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros([6, 4], np.float32), "6 embeddings, but a has 7 images"),
        (np.zeros([7, 3, 4], np.float32), "3 views of an image"),
        (np.zeros([7, 4], np.int64), r"int64 \[7, 4\]"),
        (_rows({0: np.nan}), r"1 of 7 rows are not finite .*: row 0 \(counted from 0\); make these"),
        (_rows({1: np.inf, 4: np.nan, 5: -np.inf}), r"3 of 7 rows are not finite .*: rows 1, 4, 5 \("),
        (np.full([7, 4], np.nan), r"7 of 7 rows are not finite .*: rows 0, 1, 2, 3, 4 and 2 more \("),
        (_rows({2: 1e300, 6: -1e300}), r"2 of 7 rows have values such as 1e\+300, .*: rows 2, 6 \("),
        (_rows({2: 1e-300}), r"1 of 7 rows have values such as 1e-300, .*: row 2 \("),
        (np.stack([_rows({}), _rows({3: np.nan})], axis=1), r"1 of 7 rows are not finite .*: row 3 \("),
        (np.zeros([7, 4]), "a: all 7 embeddings are zero"),
        (np.zeros([7, 0]), r"an array of shape \[7, 0\] holds no embedding"),
        (np.zeros([7, 2, 0], np.float32), r"shape \[7, 2, 0\] holds no embedding"),
        (np.zeros([0, 4]), "no embedding"),
        (np.array([[1.0], [1.0, 2.0]], object), "np.save as one array of float32"),
        (np.ones([7, 4], complex), "holds complex128"),
        (np.ones(7), r"holds float64 \[7\]"),
    ],
)
def test_embeddings_that_do_not_fit(tmp_path, array, message):
    np.save(tmp_path / "e.npy", array)
    with pytest.raises(InputError, match=message):
        Session(EvaluationSettings(embeddings=[str(tmp_path / "e.npy")])).views("a", [b""] * 7)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array"])
def test_files_that_are_no_array_are_refused_in_a_line(tmp_path, content):
    (tmp_path / "e.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"e\.npy: no arrays that NumPy can read") as refused:
        Session(EvaluationSettings(embeddings=[str(tmp_path / "e.npy")])).views("a", [b""] * 7)
    assert "\n" not in str(refused.value)


def test_failed_detections_are_counted_and_said(tmp_path, capsys):
    np.save(tmp_path / "e.npy", _rows({2: 0, 5: 0}))
    session = Session(EvaluationSettings(embeddings=[str(tmp_path / "e.npy")]))
    session.unit("a", [b""] * 7)
    assert capsys.readouterr().err.startswith(
        "a: 2 of 7 embeddings are all zero, as where no face was found: rows 2, 5 (counted from 0)."
    )
    session.add(Outcome({"set": "a", "protocol": "identification"}, {}))
    session.add(Outcome({"set": "b", "protocol": "identification"}, {}))
    session.close()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["failed_images"] == 2
    assert "failed_images" not in second


def test_an_image_has_failed_where_the_views_that_count_are_zero(tmp_path, capsys):
    views = np.random.RandomState(0).normal(size=[4, 2, 3])
    views[1, 0] = 0
    np.save(tmp_path / "e.npy", views)
    for flip, said in ((True, False), (False, True)):
        Session(EvaluationSettings(embeddings=[str(tmp_path / "e.npy")], flip=flip)).views("a", [b""] * 4)
        assert ("1 of 4 embeddings are all zero" in capsys.readouterr().err) is said


def test_undecodable_image_is_named(checkpoint, files, tmp_path):
    files[4].write_bytes(b"no image")
    for settings in ({}, {"store": str(tmp_path / "kept")}):
        session = Session(EvaluationSettings(model=checkpoint, **settings))
        with pytest.raises(InputError, match=r"a: 4\.png: image 4 \(8 bytes\) cannot be decoded"):
            session.views("a", image_files(files), keys=[path.name for path in files])


def test_problems_are_listed(tmp_path):
    def refuse(session):
        found = ProblemList("scface")
        for number in range(5):
            found.add("missing image", f"{number}.jpg", "named by the list")
        found.add("duplicate line", "list.txt, line 7", "as line 2")
        with session.listing_problems():
            found.refuse("complete the folder")

    with pytest.raises(
        InputError, match=r"5 missing image, 1 duplicate line .*complete the folder \(--problems="
    ) as error:
        refuse(Session(EvaluationSettings(model="m.keras")))
    assert "\n" not in str(error.value)
    listed = tmp_path / "problems.csv"
    with pytest.raises(InputError, match="all are listed in"):
        refuse(Session(EvaluationSettings(model="m.keras", problems=str(listed))))
    lines = listed.read_text().splitlines()
    assert lines[0] == "kind,source,reason"
    assert len(lines) == 7
    assert lines[6] == 'duplicate line,"list.txt, line 7",as line 2'


def test_results_are_printed_and_kept(tmp_path, capsys):
    np.save(tmp_path / "e.npy", np.eye(3, dtype=np.float32))
    given = {
        "embeddings": [str(tmp_path / "e.npy")],
        "store": str(tmp_path / "kept"),
        "output": str(tmp_path / "o.json"),
    }
    session = Session(EvaluationSettings(**given))
    session.unit("scface", [b""] * 3, keys=["a", "b", "c"])
    result = {
        "set": "scface",
        "protocol": "identification",
        "rank1": {"d1": 0.5},
        "intervals": {"rank1@d1": [0.25, 1.0]},
    }
    session.add(Outcome(result, {"rank": np.array([1, 3])}))
    session.close()
    printed = capsys.readouterr()
    assert json.loads(printed.out) == result
    assert "rank1@d1  0.5000 [0.2500, 1.0000]" in printed.err
    assert json.loads((tmp_path / "o.json").read_text())["sets"] == [result]
    stored = StoredEvaluation(str(tmp_path / "kept"))
    assert stored.result("scface") == result
    np.testing.assert_array_equal(stored.scores("scface")["rank"], [1, 3])
    assert list(stored.images("scface")["key"]) == ["a", "b", "c"]
    # The embeddings are the user's file, not copied.
    np.testing.assert_array_equal(stored.embeddings("scface")[:, 0], np.eye(3))
    assert stored.provenance("scface")["embeddings"] == str(tmp_path / "e.npy")
    with pytest.raises(InputError, match="has no set 'lfw', but scface"):
        stored.result("lfw")


def test_no_stored_evaluation(tmp_path):
    with pytest.raises(InputError, match="no stored evaluation there"):
        StoredEvaluation(str(tmp_path))


def test_damaged_result(tmp_path):
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "result.json").write_text("{}")
    with pytest.raises(InputError, match="no stored result"):
        StoredEvaluation(str(tmp_path)).result("lfw")
    (tmp_path / "lfw" / "scores.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"scores\.npz: no arrays that NumPy can read"):
        StoredEvaluation(str(tmp_path)).scores("lfw")
    for content in (b"", b"\xff\xfek\0e\0y\0", b'key\n"a', b"yaw\n1\n"):
        (tmp_path / "lfw" / "images.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"images\.csv: .*evaluate the set again") as error:
            StoredEvaluation(str(tmp_path)).images("lfw")
        assert "\n" not in str(error.value)


def test_stored_embeddings_of_another_preprocessing_are_made_anew(files, tmp_path, monkeypatch):
    """A flag that is not given is what the file says, and not InsightFace's 127.5."""
    predicted = _count_predicted(monkeypatch)
    spec = tf.TensorSpec([1, 16, 16, 3], tf.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(lambda x: tf.reduce_mean(x, [1, 2]), input_signature=[spec]).get_concrete_function()]
    )
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    shared = {"model": str(tmp_path / "net.tflite"), "store": str(tmp_path / "kept")}
    for given in ({}, {"input_mean": 127.5, "input_scale": 127.5}, {"input_order": "bgr"}):
        views = Session(EvaluationSettings(**shared, **given)).views("a", image_files(files))
        fresh = Session(EvaluationSettings(model=shared["model"], **given)).views("a", image_files(files))
        np.testing.assert_allclose(views, fresh, rtol=1e-5)
    assert predicted == [10, 10, 10]


@pytest.mark.parametrize("given", [{"backbone": "iresnet50"}, {"input_mean": 0.0}, {"input_order": "bgr"}])
def test_flags_of_a_model_without_one_are_refused(given):
    with pytest.raises(InputError, match=f"--{next(iter(given))} with --embeddings: it is for --model"):
        Session(EvaluationSettings(embeddings=["a.npy"], **given))


def test_images_are_embedded_upright(checkpoint, tmp_path):
    from PIL import Image

    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    image.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    views = Session(EvaluationSettings(model=checkpoint)).views(
        "a", image_files([tmp_path / "turned.png", tmp_path / "upright.png"])
    )
    np.testing.assert_allclose(views[0], views[1], rtol=1e-5)
