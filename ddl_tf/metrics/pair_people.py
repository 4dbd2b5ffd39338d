"""Whom the two sides of each pair show: what the bootstrap draws, so that pairs of one person stay together."""

from collections.abc import Mapping
from typing import NamedTuple, Optional

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ddl_tf.common.errors import InputError


class PairPeople(NamedTuple):
    """Whom the `first` and `second` images or templates of pairs show, each `[pairs]`.

    `unit` is "people", or "people by same pairs" if only the labels of the pairs say who is who.
    """

    first: np.ndarray
    second: np.ndarray
    unit: str


def linked_people(first: np.ndarray, second: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number people by chains of same pairs: the sorted images or templates of the pairs, and each one's person."""
    known = np.unique(np.concatenate([first, second]))
    ends = np.searchsorted(known, first[same]), np.searchsorted(known, second[same])
    links = coo_matrix((np.ones(len(ends[0]), bool), ends), shape=(len(known), len(known)))
    return known, connected_components(links, directed=False)[1]


def people_of_pairs(scores: Mapping[str, np.ndarray], people: Optional[np.ndarray] = None) -> Optional[PairPeople]:
    """Find whom the pairs of a set show, from its `Outcome.scores`, or from `people` `[images]`.

    If no scores say it, but an image or template is in several pairs, the same pairs say it as far as they can. None if
    pairs are independent as far as is known.
    """
    people = scores.get("people") if people is None else np.asarray(people)
    if not {"first", "second"} <= scores.keys():
        if people is not None:
            raise InputError(
                "people are given, but the scores do not hold `first` and `second`: store them, or no people"
            )
        return None
    first, second = np.asarray(scores["first"]), np.asarray(scores["second"])
    if people is not None:
        return PairPeople(people[first], people[second], "people")
    same = np.asarray(scores["same"], bool)
    if "template_person" in scores:
        known, person, unit = scores["template"], scores["template_person"], "people"
        if not np.all(np.isin(first, known) & np.isin(second, known)):
            raise InputError("the scores do not tell whom all templates of the pairs show; evaluate the set again")
    else:
        (known, person), unit = linked_people(first, second, same), "people by same pairs"
        if len(known) == 2 * len(same):
            return None
    return PairPeople(person[np.searchsorted(known, first)], person[np.searchsorted(known, second)], unit)
