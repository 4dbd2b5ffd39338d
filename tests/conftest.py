"""Two logical CPU devices for the tests of replicas, set before TensorFlow starts its runtime; paths; fixtures."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

# More replicas than inter-op threads deadlock in the collectives.
tf.config.threading.set_inter_op_parallelism_threads(8)
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _seeded():
    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for the whole process: two of them would number their collectives alike, and clash."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The file of a tiny network; what it is made of is in tests/support."""
    from tiny_checkpoint import write_checkpoint

    path = tmp_path_factory.mktemp("run") / "tiny.keras"
    write_checkpoint(path)
    return str(path)


@pytest.fixture(scope="session")
def real_faces():
    """The real faces that lie beside the project's checkout; a user's machine has none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real faces of ../shared/data are not on this machine")
    return SHARED / "data"
