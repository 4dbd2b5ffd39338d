"""The error of bad input: what was wrong, with which value, and what to do."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line for a person: what was wrong, the value, and what to do. The commands print it
    without a traceback and exit with a non-zero status; in Python it is an ordinary `ValueError`.
    """


class TrainingStopped(RuntimeError):
    """Training ended before its last step, through no fault of its settings or data; the same run can go on.

    Args:
        message: why.
        exit_code: that a command ends with, as in docs/training.md.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFiniteError(RuntimeError):
    """Training met a loss that is not finite; the message names the step, the term and the last good checkpoint."""
