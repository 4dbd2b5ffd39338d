import sys
import warnings
from pathlib import Path

import pytest
from needs import needs_tensorflow_addons

from ddl_tf.common.errors import InputError
from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.losses import TripletLoss


@needs_tensorflow_addons
def test_imports_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_tensorflow_addons().losses.triplet_semihard_loss


def test_where_it_is_missing_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(InputError, match=r"triplet loss.*pip install tensorflow-addons") as caught:
        TripletLoss()
    assert "\n" not in str(caught.value)


def test_a_failure_inside_of_it_is_named(monkeypatch, tmp_path):
    """On TensorFlow 2.16 it is found, but fails on a module of Keras that is no longer there."""
    (tmp_path / "tensorflow_addons.py").write_text("import keras.src.engine.of_keras_2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow_addons", raising=False)
    with pytest.raises(InputError, match=r"keras\.src\.engine"):
        import_tensorflow_addons()


def test_one_module_imports_it():
    package = Path(__file__).resolve().parents[2] / "ddl_tf"
    importing = [path.name for path in package.rglob("*.py") if "import tensorflow_addons\n" in path.read_text()]
    assert importing == ["tensorflow_addons_import.py"]
