"""Two models on the same pairs of templates: by the numbers, and the rules, of IJB."""

from collections.abc import Iterator, Mapping

import numpy as np

from ddl_tf.metrics.difference import FEW_FALSE_ACCEPTS, Difference, bootstrap_difference
from ddl_tf.metrics.pair_people import PairPeople
from ddl_tf.metrics.template_bootstrap import replicates_over_people, template_numbers
from ddl_tf.metrics.template_roc import corner_roc


def template_differences(
    a: Mapping[str, np.ndarray],
    b: Mapping[str, np.ndarray],
    people: PairPeople,
    replicates: int,
    seed: int,
    far_targets: Mapping[str, float],
) -> Iterator[Difference]:
    """Compare two models by the numbers of IJB on pairs of templates, by the bootstrap over people.

    Args:
        a: `Outcome.scores` of the first model: `similarity` and `same` of the pairs.
        b: of the second model, of the same pairs.
        people: whom the pairs show.
        replicates: how many times to resample.
        seed: of the draws.
        far_targets: name -> false accept rate, 0..1, of each `tar@name`.

    Yields:
        A row for each of `template_numbers`. A TAR at less than three false accepts has no test.
    """
    same = np.asarray(a["same"], bool)
    of_models, drawn = [], []
    for one in (a, b):
        false, true = corner_roc(one["similarity"], same)
        of_models.append(template_numbers(false / false[-1], true / true[-1], far_targets))
        sides = people.first, people.second
        drawn.append(replicates_over_people(one["similarity"], same, *sides, far_targets, replicates, seed))
    for number, value in of_models[0].items():
        other = of_models[1][number]
        if number in drawn[0]:
            yield bootstrap_difference(number, value, other, drawn[0][number] - drawn[1][number], people.unit)
        else:
            yield Difference(number, value, other, value - other, None, None, None, FEW_FALSE_ACCEPTS)
