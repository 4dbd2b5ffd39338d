"""How even a model is over the races of Racial Faces in-the-Wild."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.protocols.rfw import RACES, rfw_name


def summarise_rfw(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the verification results of the four races, each once and in any order.

    `std` is that of a sample (n - 1), as in the papers and in TFace's `verification_rfw.py`. The `skewed_error_ratio`
    is the largest of the four error rates over the smallest: 1 is fair; None if a race has no error (Wang and Deng,
    "Mitigating Bias in Face Recognition using Skewness-Aware Reinforcement Learning", CVPR 2020).
    """
    names = [str(result["set"]) for result in results]
    wanted = [rfw_name(race) for race in RACES]
    if sorted(names) != wanted:
        raise InputError(f"results of {', '.join(names) or 'nothing'}: RFW is {', '.join(wanted)}, each once")
    by_name = {str(result["set"]): result for result in results}
    accuracy = np.array([by_name[name]["accuracy"] for name in wanted])
    error = 1 - accuracy
    return {
        "set": "rfw",
        "protocol": "rfw",
        "pairs": sum(int(result["pairs"]) for result in results),
        "accuracy": {race.lower(): float(value) for race, value in zip(RACES, accuracy)},
        "mean": float(accuracy.mean()),
        "std": float(accuracy.std(ddof=1)),
        "skewed_error_ratio": float(error.max() / error.min()) if error.min() > 0 else None,
        "worst": RACES[int(np.argmin(accuracy))].lower(),
    }
