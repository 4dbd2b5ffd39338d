"""The files are parsed as TensorFlow Serving parses them."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from ddl_tf.common.errors import InputError
from ddl_tf.serving import write_server_files
from ddl_tf.serving.server_files import BATCH_SIZES, write_own_batching

FIELD = descriptor_pb2.FieldDescriptorProto
INT64 = "." + wrappers_pb2.Int64Value.DESCRIPTOR.full_name
# Of tensorflow_serving/servables/tensorflow/session_bundle_config.proto and config/monitoring_config.proto, which the
# package tensorflow-serving-api does not have.
MESSAGES = {
    "BatchingParameters": [
        ("max_batch_size", 1, INT64),
        ("batch_timeout_micros", 2, INT64),
        ("max_enqueued_batches", 3, INT64),
        ("num_batch_threads", 4, INT64),
        ("allowed_batch_sizes", 6, [FIELD.TYPE_INT64]),
        ("pad_variable_length_inputs", 7, FIELD.TYPE_BOOL),
    ],
    "PrometheusConfig": [("enable", 1, FIELD.TYPE_BOOL), ("path", 2, FIELD.TYPE_STRING)],
    "MonitoringConfig": [("prometheus_config", 1, ".serving_test.PrometheusConfig")],
}


@pytest.fixture(scope="module")
def messages():
    file = descriptor_pb2.FileDescriptorProto(name="serving_test.proto", package="serving_test", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number, label=FIELD.LABEL_OPTIONAL)
            if isinstance(kind, list):
                added.label, added.type = FIELD.LABEL_REPEATED, kind[0]
            elif isinstance(kind, str):
                added.type, added.type_name = FIELD.TYPE_MESSAGE, kind
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving_test.{name}")) for name in MESSAGES
    }


def _export(folder, name, *versions):
    for version in versions:
        (folder / name / version).mkdir(parents=True)
        (folder / name / version / "saved_model.pb").touch()


def _models(folder):
    config = text_format.Parse((folder / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    return {model.name: (model.base_path, model.model_platform) for model in config.model_config_list.config}


def test_models_config_lists_what_was_exported_and_what_somebody_wrote_stays(tmp_path):
    _export(tmp_path, "faces", "1", "2")
    _export(tmp_path, "other-faces", "7")
    _export(tmp_path, "notes", "draft")
    (tmp_path / "README.md").touch()
    write_server_files(str(tmp_path), "/srv/models/")
    names = ("faces", "other-faces")
    assert _models(tmp_path) == {name: (f"/srv/models/{name}", "tensorflow") for name in names}
    file, path = tmp_path / "models.config", 'base_path: "/elsewhere"\n    version_labels { key: "stable" value: 1 }'
    edited = "# of mine\n" + file.read_text().replace('base_path: "/srv/models/faces"', path)
    file.write_text(edited)
    (tmp_path / "monitoring.config").write_text("# none\n")
    write_server_files(str(tmp_path))
    assert file.read_text() == edited
    _export(tmp_path, "new", "1")
    write_server_files(str(tmp_path))
    places = {name: place for name, (place, _) in _models(tmp_path).items()}
    assert places == {"faces": "/elsewhere", "other-faces": "/srv/models/other-faces", "new": "/models/new"}
    assert "# of mine" in file.read_text()
    assert (tmp_path / "monitoring.config").read_text() == "# none\n"
    file.write_text("custom_model_config {}\n")
    with pytest.raises(InputError, match=r"models\.config: no list of models"):
        write_server_files(str(tmp_path))
    assert file.read_text() == "custom_model_config {}\n"


def test_batching_and_monitoring(tmp_path, messages):
    write_server_files(str(tmp_path))
    write_own_batching(tmp_path)
    for name in ("batching_parameters.txt", "batching_params.pbtxt"):
        parsed = text_format.Parse((tmp_path / name).read_text(), messages["BatchingParameters"]())
        # A server refuses others: rising, and the last is the largest batch.
        assert list(parsed.allowed_batch_sizes) == sorted(parsed.allowed_batch_sizes) == list(BATCH_SIZES)
        assert parsed.max_batch_size.value == BATCH_SIZES[-1]
        assert not parsed.pad_variable_length_inputs
    parsed = text_format.Parse((tmp_path / "monitoring.config").read_text(), messages["MonitoringConfig"]())
    assert parsed.prometheus_config.enable
    assert parsed.prometheus_config.path == "/monitoring/prometheus/metrics"
