"""`.keras` files of one Keras in another: read, or refused by name. tests/golden/make_keras_files.py wrote them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import IS_KERAS_3, PACKAGE
from ddl_tf.models import embedding_model, load_checkpoint, save_checkpoint

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
from make_keras_files import IMAGE, recognizer  # noqa: E402

FILES = GOLDEN / "keras_files"
HERE = "tf_keras" if PACKAGE == "tf_keras" else "keras_3" if IS_KERAS_3 else "keras_2"
READ = {"keras_2": ["keras_2"], "tf_keras": ["keras_2", "tf_keras"], "keras_3": ["keras_2", "tf_keras", "keras_3"]}
REFUSED = {"keras_3": "was written by Keras 3, and Keras is 2", "tf_keras": "was written under a later TensorFlow"}


@pytest.mark.parametrize("written_by", READ["keras_3"])
def test_what_another_keras_wrote(written_by, tmp_path):
    path = FILES / f"{written_by}.keras"
    if written_by not in READ[HERE]:
        with pytest.raises(InputError, match=f"{written_by}.keras {REFUSED[written_by]}"):
            load_checkpoint(path)
        return
    expected = np.load(FILES / f"{written_by}.npy")
    model = load_checkpoint(path)
    np.testing.assert_allclose(embedding_model(model)(IMAGE), expected, rtol=1e-5, atol=1e-6)
    assert model.get_layer("head").get_config()["sample_rate"] == 0.8
    # From here on it is this Keras's own.
    save_checkpoint(model, tmp_path / "again.keras")
    again = load_checkpoint(tmp_path / "again.keras")
    for weight, value in zip(again.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(weight, value)
    rows = {"image": tf.constant(IMAGE), "label": tf.constant([0, -1])}
    np.testing.assert_allclose(again(rows)["logits"], model(rows)["logits"], rtol=1e-5)


def test_the_files_are_of_the_network_that_is_built():
    np.testing.assert_allclose(embedding_model(recognizer())(IMAGE), np.load(FILES / f"{HERE}.npy"), rtol=1e-4)
