"""What a command does with errors, signals and its output; `probe` is a command that does what its flag says."""

import errno
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from own_lines import own_lines

import ddl_tf
from ddl_tf import data, mining
from ddl_tf.common import command, stops

PROBE = """
from ddl_tf.common import command
import dataclasses, time
from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.common.settings import setting

@dataclasses.dataclass
class Probe:
    do: str = setting("", "What to do.")
    times: int = setting(1, "How often.")

def nested():
    nested()

def main(settings):
    '''Do it.'''
    names = {**globals(), "times": settings.times}
    exec(settings.do, names)
    for _ in range(0 if "code" in names else settings.times):
        print("line")
    return names.get("code")

if __name__ == "__main__":
    command.run(main, Probe)
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "probe.py"
    path.write_text(PROBE)
    path.with_name("no_text.cfg").write_bytes(b"\xff\xfe")
    for number in range(3000):
        path.with_name(f"{number}.cfg").write_text(f"--flagfile={number + 1}.cfg\n")
    path.with_name("3000.cfg").write_text("--times=2\n")

    def started(*arguments):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A shell's background job, which the tests may be, ignores Ctrl-C, and so would its children.
        listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen([sys.executable, str(path), *arguments], cwd=path.parent, preexec_fn=listen, **pipes)

    return started


def result(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, [line.split("error: ", 1)[-1] for line in err.splitlines()]


LONG = "--do=raise InputError('what: ' + '\\x1b[2J' * 1000000 + '; advice')"


@pytest.mark.parametrize(
    "argument, begin",
    [
        ("--do=raise InputError(f'--times={times}:\\nwrong')", "--times=1: wrong"),
        ("--do=raise NotFiniteError('loss is nan')", "loss is nan"),
        ("--do=open('nowhere')", "nowhere: No such file or directory; check the path"),
        ("--do=raise MemoryError", "the memory does not suffice"),
        ("--do=nested()", "something is nested too deeply"),
        ("--do='\\udce9'.encode()", "a text or a name is not UTF-8"),
        (LONG, r"what: \x1b[2J\x1b[2J"),
        ("--times=three", "flag --times=three: invalid literal for int() with base 10: 'three'; see --help"),
        ("--timse=3", "Unknown command line flag 'timse'. Did you mean: times ?; see --help"),
        ("--flagfile=none", "Unable to open flagfile: [Errno 2] No such file or directory: 'none'; see --help"),
        ("--flagfile=no_text.cfg", "the --flagfile is not text in UTF-8"),
        ("--flagfile=0.cfg", "something is nested too deeply"),
        ("3", "unexpected argument '3': everything is given as --flag=value; see --help"),
    ],
)
def test_an_error_is_one_line(probe, argument, begin):
    code, out, (line,) = result(probe(argument))
    assert (code, out) == (2, "")
    assert line.startswith(begin)
    assert len(line) < 10_000
    assert argument != LONG or line.endswith("; advice")


def test_exit_codes_and_what_is_printed(probe):
    codes = ("code = 7", "print('jos\\udce9')", "raise ZeroDivisionError('a bug of ours')")
    runs = [probe(argument) for argument in ("--times=2", *(f"--do={code}" for code in codes), "--help")]
    good, returned, escaped, (bug_code, _, traceback), (help_code, help_text, help_errors) = map(result, runs)
    assert (good, returned) == ((0, "line\nline\n", []), (7, "", []))
    # A name that cannot be encoded.
    assert escaped == (0, "jos\\udce9\nline\n", [])
    assert (help_code, help_errors, "--times: How often." in help_text) == (0, [], True)
    # A bug of ours keeps its traceback.
    assert (bug_code, traceback[0]) == (1, "Traceback (most recent call last):")


def test_a_signal_is_one_line_and_a_shells_exit_code(probe):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = probe("--do=print('waiting', flush=True); time.sleep(600)")
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert result(process) == (128 + number, "", [f"stopped by {number.name}"])
    # A reader that has enough.
    process = probe("--times=200000")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(240) == 128 + signal.SIGPIPE


def test_errors_of_the_system_say_where_and_what_to_do():
    for error, line in (
        (PermissionError(errno.EACCES, "Permission denied", Path("/x")), "/x: Permission denied; check the"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space"),
        (OSError("shard 3: 5 bytes were written of 7"), "shard 3: 5 bytes were written of 7"),
    ):
        assert command._explain(error).startswith(line)


def test_subcommands(monkeypatch, capsys):
    def grow(settings):
        """Grow it."""

    for arguments, code in ((["--help"], 0), ([], 2), (["grwo"], 2)):
        monkeypatch.setattr(sys, "argv", ["/x/ddl_tf/prepare.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            command.run_subcommands({"grow": (grow, object)})
        assert stop.value.code == code
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1] == "  grow  Grow it."
    assert printed.err.splitlines() == [
        "python -m ddl_tf.prepare: error: no command: use one of grow; see --help",
        "python -m ddl_tf.prepare: error: unknown command 'grwo': use one of grow; see --help",
    ]


def test_errors_name_a_script_that_is_no_module_of_the_package(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks/pose.py"])
    with pytest.raises(SystemExit):
        command.run_subcommands({})
    assert capsys.readouterr().err.startswith("python benchmarks/pose.py: error: no command")


@pytest.mark.parametrize(
    "statement, absent",
    [
        ("import ddl_tf.prepare; from ddl_tf.data import Faces", {"tensorflow", "keras"}),
        ("from ddl_tf import losses, layers, models, data, training, evaluation, serving; losses.DDLLoss()", set()),
    ],
)
def test_imports_are_quiet_and_bring_little(statement, absent):
    code = f"{statement}; import sys; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    (modules,) = run.stdout.splitlines()
    assert own_lines(run.stderr) == []
    assert not set(modules.split()) & {*absent, "keras_cv", "tensorflow_addons"}


@pytest.mark.parametrize("package", [data, mining], ids=lambda package: package.__name__)
def test_every_name_is_there(package):
    for name in package.__all__:
        # A module has the names of the packages before its own.
        assert getattr(package, name).__name__.removeprefix(f"{package.__name__}.") == name
        assert name in dir(package)
    with pytest.raises(AttributeError, match="attribute nothing"):
        package.nothing  # noqa: B018
    assert package.__name__.split(".")[1] in ddl_tf.__all__


def test_only_a_later_signal_is_a_second_one(monkeypatch):
    clock = iter([0.0, 0.0, 1.9, 2.1])
    monkeypatch.setattr(stops.time, "monotonic", lambda: next(clock))
    listener = stops.Stops()
    assert [listener.is_second() for _ in range(4)] == [False, False, False, True]
