"""Which Keras the package follows, that no two are mixed, and that both files of requirements agree."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from needs import LATER_LANES
from packaging.requirements import Requirement

from ddl_tf.common.keras_version import IS_KERAS_3, PACKAGE

ROOT = Path(__file__).resolve().parents[2]
needs_both = pytest.mark.skipif(not LATER_LANES, reason="one Keras only is installed: the lane of TensorFlow 2.15")


def test_requirements_of_the_later_lanes_are_those_of_python_3_13():
    setup = configparser.ConfigParser(comment_prefixes="#")
    setup.read(ROOT / "setup.cfg")
    required, pinned = (
        [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
        for text in (setup["options"]["install_requires"], (ROOT / "requirements" / "current.txt").read_text())
    )
    required = [item for item in required if item.marker is None or item.marker.evaluate({"python_version": "3.13"})]
    assert [(item.name, item.specifier) for item in required] == [(item.name, item.specifier) for item in pinned]


def test_the_package_follows_tf_keras():
    legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
    assert (LATER_LANES and not legacy, "tf_keras" if legacy else "keras") == (IS_KERAS_3, PACKAGE)
    assert tf.keras.Model.__module__.split(".")[0] == PACKAGE


def run(code, legacy):
    """What a new process prints, whose TensorFlow takes Keras 2 or Keras 3."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1" if legacy else "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    return done.stdout.strip() if not done.returncode else done.stderr.strip().splitlines()[-1]


@needs_both
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "imports", ["import ddl_tf.losses, tensorflow", "import tensorflow, ddl_tf.losses", "import keras, ddl_tf.losses"]
)
def test_any_order_of_imports(imports, legacy):
    code = f"{imports}; from ddl_tf.common.keras_version import PACKAGE, IS_KERAS_3; print(PACKAGE, IS_KERAS_3)"
    assert run(code, legacy) == ("tf_keras False" if legacy else "keras True")


MODELS = """
import keras, tf_keras, numpy as np, tensorflow as tf
from ddl_tf.finetuning import train_only
from ddl_tf.layers import ArcFace, FlattenNeck, GroupedConvolution, LowRankDense, synchronize_batch_norm
from ddl_tf.losses import DDLLoss, MarginSoftmaxLoss
from ddl_tf.models import build_recognizer, embedding_model, save_checkpoint
from ddl_tf.serving.folding import fold_batch_norm
other = keras if tf.keras.Model.__module__.startswith("tf_keras") else tf_keras
image = other.Input([8, 8, 3])
backbone = other.Model(image, other.layers.Conv2D(4, 3)(image))
class Mine(other.Model):
    def __init__(self):
        super().__init__()
        self.head = ArcFace(5)
    def call(self, x):
        return self.head(x)
def fit(loss, target):
    flat = other.layers.Flatten()(backbone.output)
    model = other.Model(image, flat)
    model.compile("sgd", loss)
    model.fit(np.zeros([2, 8, 8, 3]), target, verbose=0)
"""

ATTEMPT = """
    try:
        exec(attempt)
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))
    else:
        print("nothing")
"""


@needs_both
@pytest.mark.parametrize("legacy", [False, True])
def test_the_other_keras_is_refused_by_name(legacy):
    """Each in words; together, since a process takes seconds to start."""
    attempts = [
        "build_recognizer(backbone, 5)",
        "save_checkpoint(backbone, 'a.keras')",
        "embedding_model(backbone)",
        "ArcFace(5)(other.Input([4]))",
        "FlattenNeck(4)(image)",
        "GroupedConvolution(3)(image)",
        "LowRankDense(4)(other.Input([4]))",
        "synchronize_batch_norm(backbone)",
        "train_only(backbone, 1)",
        "fold_batch_norm(backbone)",
        "Mine()(tf.zeros([2, 4]))",
        "fit(DDLLoss(), np.zeros([2, 2], 'int64'))",
        "fit(MarginSoftmaxLoss(), np.zeros([2], 'int64'))",
    ]
    said = run(f"{MODELS}\nfor attempt in {attempts}:\n{ATTEMPT}", legacy).splitlines()
    assert len(said) == len(attempts), said
    for attempt, line in zip(attempts, said):
        assert "tf_keras 2." in line, (attempt, line)
        assert " keras 3." in line, (attempt, line)
