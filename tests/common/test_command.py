"""What a command does with errors, signals and its output; `probe` is a command that does what it is told."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from own_lines import own_lines

from ddl_tf.common import command

PROBE = """
from ddl_tf.common import command
import dataclasses, os, signal, time, warnings
from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.common.settings import setting

@dataclasses.dataclass
class Probe:
    do: str = setting("nothing", "What to do.")
    times: int = setting(1, "How often.")
    path: str = setting("", "A path.")

def fail(error):
    raise error

def nested():
    nested()

def wait():
    print("waiting", flush=True)
    time.sleep(600)

def main(settings):
    '''Do as told.'''
    code = {
        "nothing": lambda: None,
        "refuse": lambda: fail(InputError(f"--times={settings.times}:\\nwrong")),
        "diverge": lambda: fail(NotFiniteError("loss is nan at step 4")),
        "read": lambda: open(settings.path),
        "wait": wait,
        "fail": lambda: fail(ZeroDivisionError("a bug of ours")),
        "memory": lambda: fail(MemoryError),
        "nested": nested,
        "encode": lambda: "\\udce9".encode(),
        "long": lambda: fail(InputError("what: " + "\\x1b[2J" * 1000000 + "; advice")),
        "print": lambda: print("jos\\udce9"),
        "code": lambda: 7,
    }[settings.do]()
    if code:
        return code
    for _ in range(settings.times):
        print("line")

if __name__ == "__main__":
    command.run(main, Probe)
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "probe.py"
    path.write_text(PROBE)

    def started(*arguments):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, str(path), *arguments], cwd=path.parent, **pipes)

    return started


def result(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, [line.split("error: ", 1)[-1] for line in err.splitlines()]


@pytest.mark.parametrize(
    "arguments, code, line",
    [
        (["--do=refuse", "--times=3"], 2, "--times=3: wrong"),
        (["--do=diverge"], 2, "loss is nan at step 4"),
        (["--do=read", "--path=nowhere"], 2, "nowhere: No such file or directory; check the path"),
        (["--times=three"], 2, "flag --times=three: invalid literal for int() with base 10: 'three'; see --help"),
        (["--timse=3"], 2, "Unknown command line flag 'timse'. Did you mean: times ?; see --help"),
        (["--flagfile=none"], 2, "Unable to open flagfile: [Errno 2] No such file or directory: 'none'; see --help"),
        (["3"], 2, "unexpected argument '3': everything is given as --flag=value; see --help"),
    ],
)
def test_an_error_is_one_line(probe, arguments, code, line):
    assert result(probe(*arguments)) == (code, "", [line])


def test_a_flagfile_that_is_no_text(probe, tmp_path):
    (tmp_path / "run.cfg").write_bytes(b"\xff\xfe")
    code, _, (line,) = result(probe(f"--flagfile={tmp_path}/run.cfg"))
    assert code == 2
    assert line.startswith("the --flagfile is not text in UTF-8")


def test_exit_codes_and_what_is_printed(probe):
    runs = [probe(argument) for argument in ("--times=2", "--do=code", "--help", "--do=fail")]
    good, returned, (help_code, help_text, help_errors), (bug_code, _, traceback) = map(result, runs)
    assert (good, returned) == ((0, "line\nline\n", []), (7, "", []))
    assert (help_code, help_errors) == (0, [])
    assert "--times: How often." in help_text
    # A bug of ours keeps its traceback.
    assert bug_code == 1
    assert traceback[0].startswith("Traceback")


@pytest.mark.parametrize(
    ("do", "begin"),
    [
        ("memory", "the memory does not suffice"),
        ("nested", "something is nested too deeply"),
        ("encode", "a text or a name is not UTF-8"),
        ("long", r"what: \x1b[2J\x1b[2J"),
    ],
)
def test_what_bad_input_leads_to_is_one_line_at_last(probe, do, begin):
    code, out, (line,) = result(probe(f"--do={do}"))
    assert (code, out) == (2, "")
    assert line.startswith(begin)
    assert len(line) < 10_000
    assert do != "long" or line.endswith("; advice")


def test_a_name_that_cannot_be_encoded_is_printed_escaped(probe):
    assert result(probe("--do=print")) == (0, "jos\\udce9\nline\n", [])


def test_a_long_chain_of_flagfiles_is_one_line(probe, tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}.cfg").write_text(f"--flagfile={tmp_path}/{number + 1}.cfg\n")
    (tmp_path / "3000.cfg").write_text("--times=2\n")
    code, out, (line,) = result(probe(f"--flagfile={tmp_path}/0.cfg"))
    assert (code, out) == (2, "")
    assert line.startswith("something is nested too deeply")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_one_line_and_a_shells_exit_code(probe, number):
    process = probe("--do=wait")
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    assert result(process) == (128 + number, "", [f"stopped by {number.name}"])


def test_a_reader_that_has_enough(probe):
    process = probe("--times=200000")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(240) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "error, line",
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a.bin"), "a.bin: No such file; check the path"),
        (
            PermissionError(errno.EACCES, "Permission denied", Path("/x")),
            "/x: Permission denied; check the",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space"),
        (OSError("shard 3: 5 bytes were written of 7"), "shard 3: 5 bytes were written of 7"),
    ],
)
def test_errors_of_the_system_say_where_and_what_to_do(error, line):
    assert command._explain(error).startswith(line)


def test_subcommands(monkeypatch, capsys):
    def grow(settings):
        """Grow it."""

    for arguments, code in ((["--help"], 0), ([], 2), (["grwo"], 2)):
        monkeypatch.setattr(sys, "argv", ["/x/prepare.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            command.run_subcommands({"grow": (grow, object)})
        assert stop.value.code == code
    told = capsys.readouterr()
    assert told.out.splitlines()[1] == "  grow  Grow it."
    assert told.err.splitlines() == [
        "python -m ddl_tf.prepare: error: no command: use one of grow; see --help",
        "python -m ddl_tf.prepare: error: unknown command 'grwo': use one of grow; see --help",
    ]


def imported(statement):
    """What an import prints, and which packages it brings."""
    code = f"{statement}; import sys; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    (modules,) = run.stdout.splitlines()
    return own_lines(run.stderr), set(modules.split())


def test_importing_the_package_and_prepare_costs_little():
    printed, modules = imported("import ddl_tf, ddl_tf.common.command, ddl_tf.prepare")
    assert printed == []
    assert not modules & {"tensorflow", "keras", "keras_cv", "tensorflow_addons"}


def test_importing_everything_is_quiet_and_brings_no_kerascv():
    names = ("losses", "layers", "models", "data", "training", "evaluation", "serving")
    printed, modules = imported(f"import {', '.join(f'ddl_tf.{name}' for name in names)}; ddl_tf.losses.DDLLoss()")
    assert printed == []
    assert not modules & {"keras_cv", "tensorflow_addons"}
