"""The small run of the tests of faults, and what it ends with when nobody disturbs it."""

import pytest
from fault_runs import SmallRun
from tiny_network import TINY, tiny_network  # noqa: F401

from ddl_tf.models.plain import PLAIN_NETS
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import run


@pytest.fixture(scope="session")
def small_faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small_faces")
    counts = {"identities": 8, "images_per_identity": 6, "test_identities": 20, "test_pairs": 40}
    prepare_synthetic(SyntheticSettings(output=str(folder), image_size=32, **counts))
    return folder


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    """Fixtures of modules and the session come before it."""
    monkeypatch.setattr(run, "plot_run", lambda folder: None)


@pytest.fixture
def small_run(small_faces, tmp_path):
    return SmallRun(small_faces, tmp_path / "run")


@pytest.fixture(scope="session")
def undisturbed_outcome(small_faces, tmp_path_factory):
    whole = SmallRun(small_faces, tmp_path_factory.mktemp("undisturbed") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLAIN_NETS, "plain_small", TINY)
        patch.setattr(run, "plot_run", lambda folder: None)
        whole.run()
    return whole.outcome()
