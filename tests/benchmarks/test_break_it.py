"""A seeded slice of benchmarks/break_it.py: each reader takes a whole input, and takes damaged ones or refuses them."""

import random

import pytest
from breaking.damage import damage_content
from breaking.readers import targets
from breaking.trial import Target, run_trial, try_reader
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ddl_tf.common.errors import InputError

TARGETS = list(targets())


@pytest.fixture(scope="module", params=TARGETS, ids=[target.name for target in TARGETS])
def target(request):
    return request.param


@pytest.fixture(scope="module")
def pristine(target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    target.make(folder)
    return folder


def test_a_whole_input_is_taken(target, pristine, tmp_path):
    assert try_reader(target, pristine, tmp_path) == ("taken", "")


# Every example is damaged from its own seed, so that a failure says how to bring it back; CI always has the same ones.
# A smaller seed is no simpler damage: nothing is gained by shrinking, and a reader that hangs would hang again.
@settings(
    max_examples=10,
    derandomize=True,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**20))
def test_a_damaged_input_is_taken_or_refused(target, pristine, tmp_path_factory, seed):
    trial = run_trial(target, pristine, tmp_path_factory.mktemp("trial") / "work", seed)
    assert not trial.is_fault, f"{target.name}, seed {seed}, {trial.file}: {trial.kind}\n{trial.message}"


def _write(folder):
    (folder / "a.txt").write_text("1\n2\n")


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda source, output: (output / "b.txt").write_text("new"), "taken"),
        (lambda source, output: (_ for _ in ()).throw(InputError("no")), "refused"),
        (lambda source, output: (source / "none").read_bytes(), "refused"),
        (lambda source, output: 1 / 0, "traceback"),
        (lambda source, output: (source / "a.txt").write_text("changed"), "touched"),
        (lambda source, output: (source / "b.txt").write_text("new"), "touched"),
        (lambda source, output: (source / "a.txt").unlink(missing_ok=True), "touched"),
    ],
)
def test_what_a_trial_reports(read, kind, tmp_path):
    _write(tmp_path)
    (tmp_path.parent / f"{tmp_path.name}_output").mkdir()
    output = tmp_path.parent / f"{tmp_path.name}_output"
    assert try_reader(Target("a reader", _write, ("a.txt",), read), tmp_path, output)[0] == kind


def test_a_hang_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("breaking.trial.SECONDS", 0.2)

    def read(source, output):
        while True:
            try:
                sum(range(10**6))
            except Exception:
                continue

    assert try_reader(Target("a reader", _write, ("a.txt",), read), tmp_path, tmp_path)[0] == "hang"


def test_ctrl_c_ends_the_harness(tmp_path):
    def read(source, output):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_reader(Target("a reader", _write, ("a.txt",), read), tmp_path, tmp_path)


def test_damage_follows_from_the_seed():
    contents = (b"first,second\n1,2\n", b'{"a": [1, 2]}', bytes(range(256)))
    for content in contents:
        damaged = [damage_content(content, random.Random(seed)) for seed in range(50)]
        assert damaged == [damage_content(content, random.Random(seed)) for seed in range(50)]
        assert len(set(damaged)) > 25
