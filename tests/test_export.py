import re
import subprocess
import sys

import pytest
import tensorflow as tf

from ddl_tf.errors import InputError
from ddl_tf.export import ExportSettings, main
from ddl_tf.models import build_recognizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    path = str(tmp_path_factory.mktemp("run") / "tiny.keras")
    build_recognizer("plain_small", 10, embedding_size=64, input_shape=(32, 32, 3)).save(path)
    return path


def test_prints_the_path_the_signatures_and_the_command(checkpoint, tmp_path, capsys):
    main(ExportSettings(model=checkpoint, name="faces", output=str(tmp_path)))
    path, *signatures, size, command = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "faces" / "1")
    assert [line.split(":")[0] for line in signatures] == ["search", "serving_bytes", "serving_default"]
    assert re.fullmatch(r"\d+\.\d MB, [\d,]+ operations; 10 batch norms folded, 0 kept", size)
    assert command == f"saved_model_cli show --dir {path} --all"
    # The printed command, with the module behind the script of this interpreter.
    arguments = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", *command.split()[1:]]
    shown = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    assert "signature_def['serving_default']" in shown
    assert "dtype: DT_UINT8\n        shape: (-1, -1, -1, 3)" in shown


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": ""}, "--model is missing"),
        ({"name": ""}, "--name is missing"),
        ({"name": "a/b"}, "model name 'a/b'"),
        ({"model": "nowhere"}, "no model at nowhere"),
    ],
)
def test_bad_settings(checkpoint, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        main(ExportSettings(**{"model": checkpoint, "name": "faces", "output": str(tmp_path), **settings}))
    assert list(tmp_path.iterdir()) == []
