"""How well the measures of `ddl_tf.mining` agree with the truth, as Markdown tables, and how fast they are.

    python benchmarks/measures.py --celeba=DIR

The truth is that of the synthetic faces (strengths, and landmarks in three dimensions), that of images which are
degraded here, and the columns of the CSV file beside CelebA's train.rec.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ddl_tf.common import command
from ddl_tf.common.settings import setting
from ddl_tf.images.pose import pose_from_landmarks
from ddl_tf.importers.recordio import recordio_source
from ddl_tf.importers.source import Sample
from ddl_tf.mining.degradation import degrade_image, parse_degradation
from ddl_tf.mining.quality import measure_many
from ddl_tf.synthetic.conditions import draw_conditions
from ddl_tf.synthetic.landmarks import face_landmarks
from ddl_tf.synthetic.shots import Shot, plan_shots
from ddl_tf.synthetic.traits import draw_traits

# The eyes of an aligned face of 112 px are so many pixels apart.
TEMPLATE_EYES = 35.24
CONDITIONS = ("", "+jpeg:40", "+noise:5", "+light:0.3", "+light:0.15", "+blur:1")


@dataclasses.dataclass
class Settings:
    """What to measure."""

    celeba: Optional[str] = setting(
        None, "Folder with train.rec and train.csv of CelebA; default: synthetic faces only."
    )
    images: int = setting(2000, "Synthetic faces to draw, half of them hard.")
    seed: int = setting(0, "Seed of the faces and the degradations.")


def measure(images: Sequence[bytes]) -> pd.DataFrame:
    """Measure images that can all be decoded."""

    def refuse(position: int, reason: str) -> None:
        raise ValueError(f"image {position}: {reason}")

    return pd.DataFrame(measure_many(images, refuse))


def synthetic_landmarks(shot: Shot) -> np.ndarray:
    """Where a drawn face has its eyes, nose and corners of the mouth, `[5, 2]` in pixels."""
    seen = draw_conditions(shot.identity, shot.image, shot.seed, shot.size, shot.hard)
    return face_landmarks(draw_traits(shot.identity, shot.seed), seen, shot.size)


def show(table: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print("|", " | ".join(table.columns), "|\n|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        print("|", " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row), "|")
    print()


def correlations(
    truth: pd.DataFrame, measured: pd.DataFrame, pairs: Sequence[tuple[str, str, np.ndarray, str]]
) -> None:
    """Print Spearman's correlation of pairs of columns on some of the rows."""
    show(
        pd.DataFrame(
            {
                "true": true,
                "measured": name,
                "images": f"{np.sum(rows):,} {which}",
                "Spearman": float(spearmanr(truth[true][rows], measured[name][rows]).statistic),
            }
            for true, name, rows, which in pairs
        )
    )


def degraded(images: Sequence[bytes], sources: str, seed: int) -> None:
    """Print how the measured resolution follows the true one, from 8 to 112 pixels a side."""
    rows = []
    for condition in CONDITIONS:
        true = np.exp(np.random.default_rng(seed).uniform(np.log(8), np.log(112), len(images))).round()
        copies = [
            degrade_image(image, parse_degradation(f"resolution:{side:.0f}{condition}"), np.random.default_rng(row))[0]
            for row, (image, side) in enumerate(zip(images, true))
        ]
        ratio = measure(copies)["measured_resolution_px"] / true
        rows.append(
            {
                "images": f"{len(images):,} {sources}",
                "degradation": f"resolution:8-112{condition}",
                "Spearman": float(spearmanr(ratio * true, true).statistic),
                "median ratio": float(ratio.median()),
                "10th percentile": float(ratio.quantile(0.1)),
                "90th percentile": float(ratio.quantile(0.9)),
            }
        )
    show(pd.DataFrame(rows))


def synthetic(settings: Settings) -> None:
    """Print what can be checked on the synthetic faces."""
    shots = plan_shots(range(settings.images // 10), 10, settings.seed, 112, 0.5)
    samples = [shot.draw() for shot in shots]
    truth = pd.DataFrame([sample.columns for sample in samples])
    measured = measure([sample.image for sample in samples])
    every, low = np.full(len(truth), True), (truth["resolution_px"] < 112).to_numpy()
    # A blur below a quarter of a pixel is not drawn.
    blurred = ~low & (truth["blur"] > 1).to_numpy()
    easy = np.array([sample.group == 0 for sample in samples])
    correlations(
        truth,
        measured,
        [
            ("resolution_px", "measured_resolution_px", every, "all"),
            ("resolution_px", "measured_resolution_px", low, "of 8 to 16 px"),
            ("blur", "measured_resolution_px", blurred, "of 112 px with a blur above 1"),
            ("blur", "measured_sharpness", blurred, "of 112 px with a blur above 1"),
            ("light", "measured_brightness", every, "all"),
            ("light_contrast", "measured_contrast", every, "all"),
        ],
    )
    for name, which, hard in (
        ("measured_resolution_px", "8 to 16 px from those of 112", low),
        ("measured_sharpness", "a blur above 1 from the others of 112 px", blurred),
    ):
        values = measured[name].to_numpy()
        auc = np.mean(values[hard][:, None] < values[~low & ~hard])
        print(f"AUC of {name}, which tells images of {which}: {auc:.4f}")
    print()
    degraded([sample.image for sample, wanted in zip(samples, easy) if wanted], "synthetic", settings.seed)
    pose = pose_from_landmarks(np.stack([synthetic_landmarks(shot) for shot in shots]))
    rows = []
    for name in ("yaw", "pitch", "roll"):
        for which, chosen in (("easy", easy), ("hard", ~easy)):
            error = np.abs(getattr(pose, name) - truth[name])[chosen]
            rows.append(
                {
                    "angle": name,
                    "faces": which,
                    "Spearman": float(spearmanr(getattr(pose, name)[chosen], truth[name][chosen]).statistic),
                    "median absolute error (degrees)": float(error.median()),
                    "90th percentile": float(error.quantile(0.9)),
                }
            )
    show(pd.DataFrame(rows))


def celeba(folder: str, seed: int) -> None:
    """Print what can be checked on CelebA, and the speed."""
    source = recordio_source(str(Path(folder) / "train.rec"), str(Path(folder) / "train.csv"))
    samples = [item for item in source.read(0) if isinstance(item, Sample)]
    truth = pd.DataFrame([sample.columns for sample in samples])
    images = [sample.image for sample in samples]
    start = time.perf_counter()
    measured = measure(images)
    print(f"{len(images) / (time.perf_counter() - start):,.0f} images/s\n")
    every = np.full(len(truth), True)
    upscaled = (truth["eye_distance_px"] < TEMPLATE_EYES).to_numpy()
    correlations(
        truth,
        measured,
        [
            ("eye_distance_px", "measured_resolution_px", every, "all"),
            ("eye_distance_px", "measured_resolution_px", upscaled, "scaled up"),
            ("eye_distance_px", "measured_sharpness", every, "all"),
            ("laplacian_variance", "measured_sharpness", every, "all"),
            ("luminance", "measured_brightness", every, "all"),
        ],
    )
    large = itertools.islice((image for image, small in zip(images, upscaled) if not small), 1000)
    degraded(list(large), "CelebA, not scaled up", seed)


def main(settings: Settings) -> None:
    """Print all tables.

    Args:
        settings: the flags.
    """
    synthetic(settings)
    if settings.celeba:
        celeba(settings.celeba, settings.seed)
    else:
        print("without --celeba: synthetic faces only", file=sys.stderr)


if __name__ == "__main__":
    command.run(main, Settings)
