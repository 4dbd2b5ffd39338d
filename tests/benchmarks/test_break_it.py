"""A seeded slice of benchmarks/break_it.py: each reader takes a whole input, and takes damaged ones or refuses them."""

import functools
import random

import pytest
from breaking.damage import damage_content
from breaking.readers import targets
from breaking.trial import Target, run_trial, try_reader

from ddl_tf.common.errors import InputError

TARGETS = list(targets())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Writes an input once for all readers of it."""

    @functools.cache
    def written(make):
        folder = tmp_path_factory.mktemp("pristine")
        make(folder)
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
    source, output = tmp_path / "source", tmp_path / "output"
    for folder in (source, output):
        folder.mkdir()
    (source / "a.txt").write_text("1\n2\n")
    assert try_reader(Target("a reader", None, ("a.txt",), read), source, output)[0] == kind


def test_a_hang_is_reported_and_ctrl_c_ends_the_harness(tmp_path, monkeypatch):
    monkeypatch.setattr("breaking.trial.SECONDS", 0.2)

    def hang(source, output):
        while True:
            try:
                sum(range(10**6))
            except Exception:
                continue

    def interrupt(source, output):
        raise KeyboardInterrupt

    assert try_reader(Target("a reader", None, ("a.txt",), hang), tmp_path, tmp_path)[0] == "hang"
    with pytest.raises(KeyboardInterrupt):
        try_reader(Target("a reader", None, ("a.txt",), interrupt), tmp_path, tmp_path)


def test_damage_follows_from_the_seed():
    contents = (b"first,second\n1,2\n", b'{"a": [1, 2]}', bytes(range(256)))
    for content in contents:
        damaged = [damage_content(content, random.Random(seed)) for seed in range(50)]
        assert damaged == [damage_content(content, random.Random(seed)) for seed in range(50)]
        assert len(set(damaged)) > 25
