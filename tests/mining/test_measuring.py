import numpy as np
import pytest
from quality_network import write_quality
from tiny_sets import damage_image
from tiny_store import stored

from ddl_tf.data.store import Faces
from ddl_tf.images.pose import LANDMARK_COLUMNS
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining import measuring
from ddl_tf.mining.columns import write_columns
from ddl_tf.mining.measuring import POSE_COLUMNS, measure_faces, measure_learned
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_quality
from ddl_tf.runtimes.quality import OnnxQuality


@pytest.fixture
def faces(tmp_path):
    return stored(tmp_path / "set", count=30)


def test_parts_are_measured_as_images_alone_and_go_on_after_a_stop(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "PART", 7)
    alone = [measure_quality(encoded) for encoded in faces.read(np.arange(30))]
    measure_part, measured = measuring._measure_part, []

    def stop_in_the_third(faces, start, end, progress):
        measured.append(start)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return measure_part(faces, start, end, progress)

    monkeypatch.setattr(measuring, "_measure_part", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure_faces(faces, tmp_path / "parts")
    columns = measure_faces(faces, tmp_path / "parts")
    assert measured == [0, 7, 14, 14, 21, 28]
    assert set(columns) == set(QUALITY_COLUMNS)
    for name in columns:
        np.testing.assert_allclose(columns[name], [values[name] for values in alone], rtol=1e-6)


def test_landmarks_give_the_pose_and_a_damaged_image_has_no_measures(faces, tmp_path, capsys):
    points = np.tile(ARCFACE_TEMPLATE.ravel(), [30, 1])
    points[3] = np.nan
    write_columns(faces, dict(zip(LANDMARK_COLUMNS, points.T)), {"command": "test"})
    damage_image(tmp_path / "set", 4)
    columns = measure_faces(Faces(faces.paths), tmp_path / "parts")
    assert set(columns) == {*QUALITY_COLUMNS, *POSE_COLUMNS}
    assert np.isnan(columns["measured_yaw"][3])
    assert columns["measured_eye_distance_px"][0] == pytest.approx(35.2, abs=0.1)
    assert "image 4 cannot be decoded" in capsys.readouterr().err
    assert np.isnan(columns["measured_sharpness"]).tolist() == [row == 4 for row in range(30)]


def test_a_network_measures_in_parts_and_what_has_no_quality_is_said(faces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "PART", 7)
    damage_image(tmp_path / "set", 4)
    network = OnnxQuality(write_quality(tmp_path / "net.onnx"))
    faces = Faces(faces.paths)
    expected = np.array(list(network.measure(iter(faces.images()))), np.float32)
    learned_part, starts = measuring._learned_part, []

    def stop_in_the_third(faces, network, start, end, progress):
        starts.append(start)
        if len(starts) == 3:
            raise KeyboardInterrupt
        return learned_part(faces, network, start, end, progress)

    monkeypatch.setattr(measuring, "_learned_part", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure_learned(faces, tmp_path / "parts", network)
    columns = measure_learned(faces, tmp_path / "parts", network)
    assert starts == [0, 7, 14, 14, 21, 28]
    # Batches of another size are summed in another order.
    np.testing.assert_allclose(columns["learned_quality"], expected, rtol=0, atol=1e-7)
    assert np.isnan(expected).tolist() == [row == 4 for row in range(30)]
    assert "learned_quality: 1 of 30 images have none, such as image 4: they cannot be" in capsys.readouterr().err
