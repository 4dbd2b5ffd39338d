"""A seeded slice of benchmarks/break_it.py: each reader takes a whole input, and takes damaged ones or refuses them."""

import functools

import pytest
from breaking.readers import targets
from breaking.trial import Target, run_trial, try_reader

from ddl_tf.common.errors import InputError

TARGETS = list(targets())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Writes an input once for all readers of it."""

    @functools.cache
    def written(make):
        make(folder := tmp_path_factory.mktemp("pristine"))
        return folder

    return written


# Every damage follows from its seed, so that a failure says how to bring it back; CI always has the same ones.
@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_a_whole_input_is_taken_and_a_damaged_one_taken_or_refused(target, pristine, tmp_path):
    folder = pristine(target.make)
    (tmp_path / "output").mkdir()
    assert try_reader(target, folder, tmp_path / "output") == ("taken", "")
    for seed in range(25 if target.every == 1 else 3):
        trial = run_trial(target, folder, tmp_path / "work", seed)
        assert not trial.is_fault, f"{target.name}, seed {seed}, {trial.file}: {trial.kind}\n{trial.message}"


def _hang(source, output):
    while True:
        try:
            sum(range(10**6))
        except Exception:
            continue


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda source, output: (output / "b.txt").write_text("new"), "taken"),
        (lambda source, output: (_ for _ in ()).throw(InputError("no")), "refused"),
        (lambda source, output: 1 / 0, "traceback"),
        (_hang, "hang"),
        (lambda source, output: (source / "a.txt").write_text("changed"), "touched"),
        (lambda source, output: (source / "a.txt").unlink(missing_ok=True), "touched"),
    ],
)
def test_what_a_trial_reports(read, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("breaking.trial.SECONDS", 0.2 if read is _hang else 60)
    (tmp_path / "source").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "source/a.txt").write_text("1\n2\n")
    assert try_reader(Target("a reader", None, ("a.txt",), read), tmp_path / "source", tmp_path / "output")[0] == kind
