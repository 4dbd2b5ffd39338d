"""What all commands share: quiet start-up, flags from settings, and errors in one line.

A command imports this first: TensorFlow reads the level of its start-up messages when it is loaded.
"""

import errno
import io
import logging
import os
import signal
import sys
import typing
import warnings
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, NoReturn, Optional

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
# On a machine without some fonts matplotlib would name each of them before its first plot.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
# What libraries of ours tell each other, such as KerasCV's use of old names in Keras.
warnings.filterwarnings("ignore", module=r"(tensorflow_addons|keras|keras_cv|tensorflow)(\.|$)")
warnings.filterwarnings("ignore", category=DeprecationWarning)

from absl import app, flags  # noqa: E402
from absl import logging as absl_logging  # noqa: E402

from ddl_tf.common.errors import InputError, NotFiniteError, TrainingStopped  # noqa: E402
from ddl_tf.common.settings import define_flags, from_flags  # noqa: E402
from ddl_tf.common.text import visible  # noqa: E402

flags.disclaim_key_flags()

# A `main`, and the dataclass of its settings.
_Subcommand = tuple[Callable[[Any], Any], type]
# An exit code; of what a signal ends it is 128 + its number, as in shells.
BAD_INPUT = 2
# Characters of a message.
_LONGEST = 2000
# What to do about an error of the operating system.
_ADVICE = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "check the path"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check the permissions, or choose another place"),
    errno.EEXIST: "it is in the way: choose another name, or move it",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, then give the same command again"),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), then give the same command again",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "see to the disk or the network, then give the same command again"),
}


def _program() -> str:
    folder, file = os.path.split(sys.argv[0])
    if os.path.basename(folder) == "ddl_tf":
        return f"python -m ddl_tf.{os.path.splitext(file)[0]}"
    return f"python {sys.argv[0]}"


def _fail(message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    line = " ".join(message.split())
    if len(line) > _LONGEST:
        # Of a file that is no text, a line may be all of it; the advice is at the end.
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    print(f"{_program()}: error: {visible(line)}", file=sys.stderr)
    sys.exit(code)


def _explain(error: OSError) -> str:
    """Where, what, and what to do, of a missing file, a full disk, a folder without permission."""
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    advice = _ADVICE.get(error.errno or 0)
    return place + (error.strerror or str(error)) + (f"; {advice}" if advice else "")


# What bad input leads to where no reader foresaw it; any other exception is a bug, whose traceback a report needs.
_OF_INPUT = (MemoryError, RecursionError, UnicodeError)


def _last_resort(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "the memory does not suffice; give less at a time, or see whether an input says that it is huge"
    if isinstance(error, RecursionError):
        return "something is nested too deeply (files in one another, brackets); see to the flags and the input files"
    return f"a text or a name is not UTF-8 ({error}); convert or rename it"


def _terminate(number: int, frame: Optional[FrameType]) -> None:
    """End as after Ctrl-C, so that what is half done is cleaned up."""
    raise KeyboardInterrupt(signal.Signals(number))


def _call(main: Callable[[Any], Any], settings_class: type) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is shown escaped, as on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main(from_flags(settings_class))
        sys.stdout.flush()
    except (InputError, NotFiniteError) as error:
        _fail(str(error), BAD_INPUT)
    except TrainingStopped as stopped:
        # Training has said why: the chief alone, where there are several workers.
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(_explain(error), BAD_INPUT)
    except _OF_INPUT as error:
        _fail(_last_resort(error), BAD_INPUT)
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        _fail(f"stopped by {number.name}", 128 + number)
    sys.exit(code or 0)


def _interrupted_early(kind: type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
    """Ctrl-C while TensorFlow is imported: Python itself then ends the process with the right exit code."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{_program()}: error: stopped by SIGINT", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _interrupted_early


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _fail(f"{str(error).replace('ERROR:: ', '')}; see --help", BAD_INPUT)
    except UnicodeDecodeError as error:
        _fail(f"the --flagfile is not text in UTF-8 ({error.reason}); give one with a flag on each line", BAD_INPUT)
    except _OF_INPUT as error:
        _fail(_last_resort(error), BAD_INPUT)
    except SystemExit:
        # absl has printed the help text, and calls that a failure.
        sys.stdout.flush()
        sys.exit(0)


def run(main: Callable[[Any], Any], settings_class: type) -> None:
    """Run a command whose flags are the fields of a settings dataclass; `main` returns the exit code (None: 0)."""
    define_flags(settings_class)

    def parsed(arguments: list[str]) -> None:
        # absl's `app.run` turns on the INFO messages of TensorFlow's own modules.
        absl_logging.set_verbosity(absl_logging.WARNING)
        if len(arguments) > 1:
            _fail(f"unexpected argument {arguments[1]!r}: everything is given as --flag=value; see --help", BAD_INPUT)
        _call(main, settings_class)

    try:
        app.run(parsed, flags_parser=_parse)
    except BrokenPipeError:
        # Whoever reads the output, such as `head`, has enough; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def by_name(*mains: Callable[[Any], Any]) -> dict[str, _Subcommand]:
    """The subcommands that functions of one settings dataclass each are, for `run_subcommands`, by their names."""
    return {main.__name__: (main, typing.get_type_hints(main)["settings"]) for main in mains}


def run_subcommands(subcommands: Mapping[str, _Subcommand], default: Optional[str] = None) -> None:
    """Run the subcommand that the first argument names, or `default` before a flag; `main`'s docstring is its help."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help", "--helpfull", "--helpshort"):
        width = max(map(len, subcommands))
        lines = [f"  {key:<{width}}  {str(main.__doc__).splitlines()[0]}" for key, (main, _) in subcommands.items()]
        usage = [f"usage: {_program()} COMMAND --flag=value ...   (COMMAND --help lists the flags)"]
        usage += [f"without COMMAND it is {default}"] if default else []
        print(*usage, *lines, sep="\n")
        sys.exit(0)
    if default and name.startswith("-"):
        sys.argv.insert(1, default)
        name = default
    if name not in subcommands:
        what = f"unknown command {name!r}" if name else "no command"
        _fail(f"{what}: use one of {', '.join(subcommands)}; see --help", BAD_INPUT)
    main, settings_class = subcommands[name]
    del sys.argv[1]
    sys.modules["__main__"].__doc__ = main.__doc__
    run(main, settings_class)
