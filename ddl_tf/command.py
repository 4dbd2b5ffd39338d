"""What all commands share: quiet start-up, flags from settings, and errors in one line.

A command imports this module before anything that imports TensorFlow, because TensorFlow reads the level of its
start-up messages when it is loaded.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="tensorflow_addons")
warnings.filterwarnings("ignore", category=DeprecationWarning)

from absl import app, flags  # noqa: E402
from absl import logging as absl_logging  # noqa: E402

from ddl_tf.errors import InputError, NotFiniteError  # noqa: E402
from ddl_tf.settings import define_flags, from_flags  # noqa: E402

flags.disclaim_key_flags()

# Exit codes: absl uses 1 for flags that do not parse; shells use 128 + 2 for SIGINT.
BAD_INPUT = 2
INTERRUPTED = 130


def _program() -> str:
    return "python -m ddl_tf." + os.path.splitext(os.path.basename(sys.argv[0]))[0]


def _fail(message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"{_program()}: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _call(main: Callable[[Any], Any], settings_class: type) -> None:
    try:
        code = main(from_flags(settings_class))
    except (InputError, NotFiniteError) as error:
        _fail(str(error), BAD_INPUT)
    except OSError as error:
        # A missing file, a full disk, a folder without permission: str() has the reason and the path.
        _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    sys.exit(code or 0)


def run(main: Callable[[Any], Any], settings_class: type) -> None:
    """Run a command whose flags are the fields of one settings dataclass.

    Args:
        main: called with an instance of `settings_class`; what it returns is the exit code (None is 0).
        settings_class: a dataclass whose fields were made with `ddl_tf.settings.setting`.
    """
    define_flags(settings_class)

    def parsed(arguments: list[str]) -> None:
        # absl's `app.run` turns on the INFO messages of TensorFlow's own modules.
        absl_logging.set_verbosity(absl_logging.WARNING)
        if len(arguments) > 1:
            _fail(
                f"unexpected argument {arguments[1]!r}: everything is given as --flag=value; see --help",
                BAD_INPUT,
            )
        _call(main, settings_class)

    app.run(parsed)


def run_subcommands(subcommands: Mapping[str, tuple[Callable[[Any], Any], type]]) -> None:
    """Run the subcommand that the first argument names; each has its own flags.

    Args:
        subcommands: name -> (main, settings class), as for `run`. The docstring of `main` is its help text.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in subcommands:
        width = max(map(len, subcommands))
        lines = [
            f"  {key:<{width}}  {(main.__doc__ or '').strip().splitlines()[0]}"
            for key, (main, _) in subcommands.items()
        ]
        usage = f"usage: {_program()} COMMAND --flag=value ...   (COMMAND --help lists the flags)"
        print(usage, *lines, sep="\n")
        if name in ("", "-h", "--help", "--helpfull", "--helpshort"):
            sys.exit(0)
        _fail(f"unknown command {name!r}: use one of {', '.join(subcommands)}", BAD_INPUT)
    main, settings_class = subcommands[name]
    del sys.argv[1]
    sys.modules["__main__"].__doc__ = main.__doc__
    run(main, settings_class)
