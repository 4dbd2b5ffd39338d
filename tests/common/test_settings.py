import dataclasses
import functools
from typing import Optional

import pytest
from absl import flags

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import define_flags, from_flags, setting


@dataclasses.dataclass
class Common:
    seed: int = setting(0, "A whole number.")


@dataclasses.dataclass
class Example(Common):
    rate: float = setting(0.1, "A number.")
    ddl: bool = setting(False, "Yes or no.")
    head: str = setting("arcface", "One of two.", choices=("arcface", "cosface"))
    run_dir: Optional[str] = setting(None, "Perhaps a text.")
    margin: Optional[float] = setting(None, "Perhaps a number.")
    sets: list[str] = setting([], "Texts.")
    folds: list[int] = setting([1, 2], "Whole numbers.")
    rules: list[str] = setting([], "Texts that may hold commas.", repeated=True)


@pytest.fixture
def parse(monkeypatch):
    """Arguments -> settings, by flags of their own."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for kind in ("enum", "bool", "integer", "float", "string", "list", "multi_string"):
        define = functools.partial(getattr(flags, f"DEFINE_{kind}"), flag_values=values)
        monkeypatch.setattr(flags, f"DEFINE_{kind}", define)
    define_flags(Example)

    def parsed(*arguments):
        values(["program", *arguments])
        return from_flags(Example)

    return parsed


def test_without_flags_the_defaults_which_are_not_shared(parse):
    assert parse() == Example()
    Example().folds.append(3)
    assert Example().folds == [1, 2]


def test_every_kind_of_flag(parse):
    flags_of_all = ("--seed=3", "--rate=1e-2", "--ddl", "--head=cosface", "--run_dir=runs/a", "--margin=0.4")
    made = parse(*flags_of_all, "--sets=a,b", "--folds=7", "--rules=x in (1, 2)", "--rules=y < 3")
    assert made == Example(3, 0.01, True, "cosface", "runs/a", 0.4, ["a", "b"], [7], ["x in (1, 2)", "y < 3"])
    assert parse("--folds=").folds == []


def test_bad_flags(parse):
    for argument, message in (
        ("--folds=1,x", "every item must be of type int"),
        ("--folds=1,,2", "an item is empty"),
        ("--sets=a,", "an item is empty"),
    ):
        with pytest.raises(InputError, match=f"{argument}: {message}"):
            parse(argument)
    # Absl's own.
    for argument in ("--rate=fast", "--seed=1.5", "--ddl=maybe", "--head=softmax", "--rat=1"):
        with pytest.raises(flags.Error):
            parse(argument)


def test_a_type_without_a_flag():
    @dataclasses.dataclass
    class Odd:
        sizes: dict = setting(None, "No flag is like this.")

    with pytest.raises(TypeError, match=r"Odd.sizes: no flag"):
        define_flags(Odd)
