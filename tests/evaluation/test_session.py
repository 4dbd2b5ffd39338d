import functools
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import embed, load_embedding_model
from ddl_tf.evaluation.session import EvaluationSettings, Session
from ddl_tf.evaluation.stored import Outcome, StoredEvaluation
from ddl_tf.importers.image_files import image_files
from ddl_tf.importers.problem_list import ProblemList

LOAD = functools.lru_cache(maxsize=None)(load_embedding_model)


@pytest.fixture(autouse=True)
def _each_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr("ddl_tf.evaluation.load_embedding_model", LOAD)


@pytest.fixture
def files(tmp_path, pictures):
    """Ten images of noise in files."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for path, image in zip(paths, pictures[0]):
        path.write_bytes(image)
    return paths


@pytest.fixture
def predicted(monkeypatch):
    """How many images each call has embedded for a store."""
    counts, predict = [], embed.predict_embeddings

    def count(*arguments):
        if isinstance(arguments[-1], range):
            counts.append(len(arguments[-1]))
        return predict(*arguments)

    monkeypatch.setattr(embed, "predict_embeddings", count)
    return counts


def _given(folder, array, **settings):
    """A session with embeddings from a file."""
    np.save(folder / "e.npy", array)
    return Session(EvaluationSettings(embeddings=[str(folder / "e.npy")], **settings))


def test_stored_embeddings_are_taken_up(checkpoint, files, tmp_path, predicted):
    chosen = {"model": checkpoint, "store": str(tmp_path / "kept")}
    # Of photos on their side, too.
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(files[0]) as image:
        image.transpose(Image.Transpose.ROTATE_270).save(files[1])
        image.save(files[0], exif=exif)
    images = image_files(files)
    without = Session(EvaluationSettings(model=checkpoint)).views("a", images)
    np.testing.assert_allclose(without[0], without[1], rtol=1e-5)
    first = Session(EvaluationSettings(**chosen)).views("a", images)
    assert first.shape == (10, 2, 16)
    np.testing.assert_allclose(first, without, rtol=1e-5)
    assert predicted == [10]
    # One view of two is there, too; and a copy of another name is the same model.
    shutil.copy(checkpoint, tmp_path / "copy.keras")
    for change, views in (({"flip": False}, first[:, :1]), ({"model": f"{tmp_path}/copy.keras"}, first)):
        again = Session(EvaluationSettings(**{**chosen, **change})).views("a", images)
        np.testing.assert_array_equal(again, views)
    # A record of old has the name in its fingerprint.
    record, path = tmp_path / "kept" / "a" / "embeddings.json", pathlib.Path(checkpoint)
    new, old = (hashlib.sha256(name + path.read_bytes()).hexdigest() for name in (b"", path.name.encode()))
    assert record.read_text().count(new) == 1
    record.write_text(record.read_text().replace(new, old))
    Session(EvaluationSettings(**chosen)).views("a", images)
    assert predicted == [10]
    # Other images of the same names are embedded anew.
    files[3].write_bytes(files[4].read_bytes())
    changed = Session(EvaluationSettings(**chosen)).views("a", image_files(files))
    assert predicted == [10, 10]
    np.testing.assert_allclose(changed[3], changed[4], rtol=1e-5)
    files[4].write_bytes(b"no image")
    for settings in ({}, chosen):
        session = Session(EvaluationSettings(**{"model": checkpoint, **settings}))
        with pytest.raises(InputError, match=r"a: 4\.png: image 4 \(8 bytes\) cannot be decoded"):
            session.views("a", image_files(files), [path.name for path in files])


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
    monkeypatch.setattr(embed, "predict_embeddings", killed)
    with pytest.raises(KeyboardInterrupt):
        Session(settings).views("a", image_files(files))
    assert not result.exists()


def _rows(values):
    """Seven embeddings, some of which have one value throughout."""
    rows = np.random.RandomState(0).normal(size=[7, 4])
    for row, value in values.items():
        rows[row] = value
    return rows


def test_embeddings_that_do_not_fit(tmp_path):
    # The contents of a file, or an array; then the reason.
    for content, message in (
        (b"no array", r"e\.npy: no arrays that NumPy can read"),
        (np.zeros([6, 4], np.float32), "6 embeddings, but a has 7 images"),
        (np.zeros([7, 3, 4], np.float32), "3 views of an image"),
        (np.zeros([7, 4], np.int64), r"int64 \[7, 4\]"),
        (_rows({0: np.nan}), r"1 of 7 rows are not finite .*: row 0 \(counted from 0\); make these"),
        (np.full([7, 4], np.nan), r"7 of 7 rows are not finite .*: rows 0, 1, 2, 3, 4 and 2 more \("),
        (_rows({2: 1e300, 6: -1e300}), r"2 of 7 rows have values such as 1e\+300, .*: rows 2, 6 \("),
        (_rows({2: 1e-300}), r"1 of 7 rows have values such as 1e-300, .*: row 2 \("),
        (np.stack([_rows({}), _rows({3: -np.inf})], axis=1), r"1 of 7 rows are not finite .*: row 3 \("),
        (np.zeros([7, 4]), "a: all 7 embeddings are zero"),
        (np.zeros([7, 2, 0], np.float32), r"shape \[7, 2, 0\] holds no embedding"),
        (np.array([[1.0], [1.0, 2.0]], object), "np.save as one array of float32"),
        (np.ones(7), r"holds float64 \[7\]"),
    ):
        file = tmp_path / "e.npy"
        file.write_bytes(content) if isinstance(content, bytes) else np.save(file, content)
        with pytest.raises(InputError, match=message) as refused:
            Session(EvaluationSettings(embeddings=[str(file)])).views("a", [b""] * 7)
        assert "\n" not in str(refused.value)
    for flags in ({"backbone": "iresnet50"}, {"input_mean": 0.0}, {"input_order": "bgr"}):
        with pytest.raises(InputError, match=f"--{next(iter(flags))} is for --model, and has no use with --embeddings"):
            Session(EvaluationSettings(embeddings=["a.npy"], **flags))


def test_failed_detections_are_counted_and_reported(tmp_path, capsys):
    session = _given(tmp_path, _rows({2: 0, 5: 0}))
    session.unit("a", [b""] * 7)
    session.add(Outcome({"set": "a", "protocol": "identification"}, {}))
    session.close()
    printed = capsys.readouterr()
    assert printed.err.startswith("a: 2 of 7 embeddings are all zero, as where no face was found: rows 2, 5 (counted")
    result = json.loads(printed.out)
    assert result["failed_images"] == 2
    assert result["acquisition"] == {"attempts": 7, "failed": 2, "fta": 2 / 7}
    # An image has failed where the views that count are zero.
    views = np.random.RandomState(0).normal(size=[4, 2, 3])
    views[1, 0] = 0
    for flip in (True, False):
        _given(tmp_path, views, flip=flip).views("a", [b""] * 4)
        assert ("1 of 4 embeddings are all zero" in capsys.readouterr().err) is not flip


def test_problems_are_listed(tmp_path):
    problems, path = ProblemList("scface"), tmp_path / "problems.csv"
    problems.add("missing image", "1.jpg", "named by the list")
    problems.add("duplicate line", "list.txt, line 7", "as line 2")
    for settings, message in (
        ({}, r"1 missing image, 1 duplicate line .*complete the folder \(--problems="),
        ({"problems": str(path)}, "all are listed in"),
    ):
        session = Session(EvaluationSettings(model="m.keras", **settings))
        with pytest.raises(InputError, match=message), session.listing_problems():
            problems.refuse("complete the folder")
    lines = ["missing image,1.jpg,named by the list", 'duplicate line,"list.txt, line 7",as line 2']
    assert path.read_text().splitlines() == ["kind,source,reason", *lines]


def test_results_are_printed_and_kept(tmp_path, capsys):
    session = _given(tmp_path, np.eye(3, dtype=np.float32), store=str(tmp_path / "kept"))
    session.unit("scface", [b""] * 3, ["a", "b", "c"])
    result = {"set": "scface", "protocol": "identification", "rank1": {"d1": 0.5}, "intervals": {"rank1@d1": [0.25, 1]}}
    session.add(Outcome(result, {"rank": np.array([1, 3])}))
    session.close()
    assert "rank1@d1  0.5000 [0.2500, 1.0000]" in capsys.readouterr().err
    stored = StoredEvaluation(str(tmp_path / "kept"))
    assert stored.result("scface") == result
    np.testing.assert_array_equal(stored.scores("scface")["rank"], [1, 3])
    assert list(stored.images("scface")["key"]) == ["a", "b", "c"]
    # The embeddings are the user's file, not copied.
    np.testing.assert_array_equal(stored.embeddings("scface")[:, 0], np.eye(3))
    assert stored.provenance("scface")["embeddings"] == str(tmp_path / "e.npy")
    with pytest.raises(InputError, match="has no set 'lfw', but scface"):
        stored.result("lfw")


def test_damaged_result(tmp_path):
    with pytest.raises(InputError, match="no stored evaluation there"):
        StoredEvaluation(str(tmp_path))
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "result.json").write_bytes(b"{}")
    path = json.dumps({"result": {}, "provenance": {"embeddings": ["e.npy"]}}).encode()
    for part, name, contents, message in (
        ("result", "result.json", [b"{}"], "no stored result"),
        ("scores", "scores.npz", [b"PK"], r"scores\.npz: no arrays that NumPy can read"),
        ("images", "images.csv", [b"", b"\xff\xfek\0e\0y\0", b'key\n"a', b"yaw\n1\n"], r"images\.csv: .*evaluate the"),
        ("embeddings", "result.json", [path], "lfw: its embeddings are .*, no path; evaluate the set"),
    ):
        for content in contents:
            (tmp_path / "lfw" / name).write_bytes(content)
            with pytest.raises(InputError, match=message) as error:
                getattr(StoredEvaluation(str(tmp_path)), part)("lfw")
            assert "\n" not in str(error.value)


def test_stored_embeddings_of_another_preprocessing_are_made_anew(files, tmp_path, predicted):
    """A flag that is not given is what the file says, and not InsightFace's 127.5."""
    mean = tf.function(lambda x: tf.reduce_mean(x, [1, 2]), [tf.TensorSpec([1, 16, 16, 3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([mean.get_concrete_function()])
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    shared = {"model": str(tmp_path / "net.tflite"), "store": str(tmp_path / "kept")}
    for flags in ({}, {"input_mean": 127.5, "input_scale": 127.5}, {"input_order": "bgr"}):
        views = Session(EvaluationSettings(**shared, **flags)).views("a", image_files(files))
        fresh = Session(EvaluationSettings(model=shared["model"], **flags)).views("a", image_files(files))
        np.testing.assert_allclose(views, fresh, rtol=1e-5)
    assert predicted == [10, 10, 10]
