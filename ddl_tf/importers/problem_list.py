"""What is wrong with a data set, collected to the end before it is refused, so that a user sees all of it at once."""

from collections import Counter

from ddl_tf.common.errors import InputError
from ddl_tf.importers.source import Problem

_SHOWN = 3


class ProblemsError(InputError):
    """A data set is refused, with all its problems."""

    def __init__(self, message: str, problems: list[Problem]) -> None:
        super().__init__(message)
        self.problems = problems


class ProblemList:
    """Collects what is wrong with the data set of a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []

    def add(self, kind: str, source: object, reason: str) -> None:
        """Add a problem of a kind such as "missing image", its file or line, and what is wrong in words."""
        self.problems.append(Problem(kind, str(source), reason))

    def counts(self) -> dict[str, int]:
        """Count the problems by kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def refuse(self, advice: str) -> None:
        """Raise a `ProblemsError` if there is any problem: the number of each kind, the first few, and the advice."""
        if not self.problems:
            return
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts().items())
        first = "; ".join(f"{problem.source}: {problem.reason}" for problem in self.problems[:_SHOWN])
        more = ", ..." if len(self.problems) > _SHOWN else ""
        raise ProblemsError(f"{self.name}: {kinds} ({first}{more}); {advice}", self.problems)
