"""The error of bad input: what was wrong, with which value, and what to do."""


class InputError(ValueError):
    """Something that the user gave cannot be used: one line that says what was wrong, the value, and what to do.

    The commands print it without a traceback and exit with a non-zero status.
    """


class TrainingStopped(RuntimeError):
    """Training ended early, through no fault of settings or data; the run can go on (exit codes: docs/training.md)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        """Reach another process as it is; pickle knows the message alone."""
        return TrainingStopped, (str(self), self.exit_code)


class NotFiniteError(RuntimeError):
    """Training met a loss that is not finite; the message names the step, the term and the last good checkpoint."""
