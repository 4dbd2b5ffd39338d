"""The files are parsed as TensorFlow Serving parses them."""

import re

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ddl_tf.common.errors import InputError
from ddl_tf.serving import write_server_files
from ddl_tf.serving.server_files import BATCH_SIZES


def _export(folder, name, *versions):
    for version in versions:
        (folder / name / version).mkdir(parents=True)
        (folder / name / version / "saved_model.pb").touch()


def _models(folder):
    config = text_format.Parse((folder / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    return {model.name: (model.base_path, model.model_platform) for model in config.model_config_list.config}


def test_the_files_say_what_was_exported_and_what_somebody_wrote_stays(tmp_path):
    _export(tmp_path, "faces", "1", "2")
    _export(tmp_path, "other-faces", "7")
    _export(tmp_path, "notes", "draft")
    (tmp_path / "README.md").touch()
    write_server_files(str(tmp_path), "/srv/models/")
    names = ("faces", "other-faces")
    assert _models(tmp_path) == {name: (f"/srv/models/{name}", "tensorflow") for name in names}
    # Of tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    known = {"max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"}
    known |= {"allowed_batch_sizes", "pad_variable_length_inputs"}
    text = re.sub("#.*", "", (tmp_path / "batching_parameters.txt").read_text())
    fields = re.findall(r"^(\w+)(?:: (\w+)| \{ value: (\d+) \})$", text, re.M)
    assert len(fields) == len(text.split("\n")) - text.split("\n").count("")
    assert {field for field, *_ in fields} <= known
    # A server refuses others: rising, and the last is the largest batch.
    sizes = [int(value) for field, value, _ in fields if field == "allowed_batch_sizes"]
    assert sizes == sorted(sizes) == list(BATCH_SIZES)
    assert ("max_batch_size", "", str(BATCH_SIZES[-1])) in fields
    assert ("pad_variable_length_inputs", "false", "") in fields
    text = re.sub("#.*\n", "", (tmp_path / "monitoring.config").read_text())
    assert " ".join(text.split()) == 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'
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
