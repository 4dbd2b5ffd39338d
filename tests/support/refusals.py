"""What a reader refuses a set for."""

import pytest

from ddl_tf.importers.problem_list import ProblemsError


def problems_of(read, *arguments, **options):
    """The problems that are raised, as (kind, source, reason)."""
    with pytest.raises(ProblemsError) as caught:
        read(*map(str, arguments), **options)
    assert "\n" not in str(caught.value)
    return [(problem.kind, problem.source, problem.reason) for problem in caught.value.problems]
