import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from ddl_tf.serving import export_model, warmup_requests


def _records(version):
    """The warm-up as a server reads it."""
    file = str(version / "assets.extra" / "tf_serving_warmup_requests")
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


def test_every_signature_and_batch_size_is_replayed(exported, served):
    seen = []
    for request in _records(exported):
        assert request.model_spec.name == "faces"
        signature = served.signatures[request.model_spec.signature_name]
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        assert inputs.keys() == signature.structured_input_signature[1].keys()
        answer = signature(**inputs)
        (rows,) = {value.shape[0] for value in answer.values()}
        if "valid" in answer:
            assert answer["valid"].numpy().all()
        seen.append((request.model_spec.signature_name, rows))
    names = ["search", "serving_bytes", "serving_default", "verify"]
    assert seen == [(name, size) for name in names for size in (1, 2, 4, 8, 16, 32)]


def test_the_faces_are_of_the_model_s_size_and_differ_and_two_exports_have_one_warm_up():
    logs = list(warmup_requests("faces", ["serving_default"], (24, 32), 16))
    # 1, 2, 4, ...
    faces = tf.make_ndarray(logs[2].predict_log.request.inputs["image"])
    assert faces.shape == (4, 24, 32, 3)
    assert faces.dtype == np.uint8
    assert all(np.abs(faces[n].astype(int) - faces[m]).mean() > 5 for n in range(4) for m in range(n))
    first, second = (list(warmup_requests("faces", ["search"], (24, 24), 8)) for _ in range(2))
    assert first == second


def test_only_what_the_model_has(tmp_path):
    pooling = tf.keras.Sequential([tf.keras.Input([8, 8, 3]), tf.keras.layers.GlobalAveragePooling2D()])
    version = export_model(pooling, "faces", str(tmp_path), search=False)
    names = {request.model_spec.signature_name for request in _records(version)}
    assert names == {"serving_bytes", "serving_default"}
    assert "allowed_batch_sizes: 32" in (version / "batching_params.pbtxt").read_text()
