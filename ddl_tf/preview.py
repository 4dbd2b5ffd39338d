"""Draw what augmentation does to the faces of a stored set, to choose its strengths by.

    python -m ddl_tf.preview --train_data=datasets/faces/train --augment_resolution=0.5 --output=preview.png

draws two parts: a few faces as they are stored and as training would see them, several times each; then one face with
each kind of augmentation alone, from weak to strong.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf import data, evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.settings import setting
from ddl_tf.data.settings import AugmentationSettings, strength_names
from ddl_tf.data.store import Faces
from ddl_tf.images.pillow_images import resize_image

# The strengths of the second part, and of how many draws it shows the strongest.
STRENGTHS, DRAWS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0), 8


@dataclasses.dataclass
class PreviewSettings(AugmentationSettings):
    """Which faces to draw, and how they are augmented."""

    train_data: list[str] = setting([], "Stored sets (made by ddl_tf.prepare) to take the faces of.")
    output: str = setting("preview.png", "Draw to this file (.png, .pdf or .svg).")
    image_size: int = setting(112, "Height and width of the training images, in pixels.")
    rows: int = setting(4, "Number of faces.")
    seed: int = setting(0, "Seed of the choice of faces and of the augmentation; another one shows others.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_size", "rows"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must be from 0 to {2**32 - 1}, got {self.seed}")
        evaluation.plots.check_format(self.output)


def kind_alone(image: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Augment an image by one kind, from weak to strong, with the draw that changes it most: `[strengths, ...]`."""
    seeds = [np.array([seed, number], np.int64) for number in range(DRAWS)]
    alone = [AugmentationSettings(flip=False, augment_probability=1.0) for _ in STRENGTHS]
    for settings, strength in zip(alone, STRENGTHS):
        setattr(settings, name, strength)
    augment = [data.build_augmentation(settings) for settings in alone]
    strongest = max(seeds, key=lambda draw: np.abs(augment[-1](image, draw) - image).mean())
    return np.stack([function(image, strongest) for function in augment])


def _choose(faces: Faces, count: int, seed: int) -> list[int]:
    """Choose images at random, of each group in turn."""
    rows = faces.index.sample(frac=1, random_state=seed)
    turns = rows.assign(turn=rows.groupby("group").cumcount()).sort_values(["turn", "group"], kind="stable")
    return turns.index[:count].tolist()


def _show(grid: np.ndarray, rows: Sequence[tuple[str, list[np.ndarray]]], titles: list[str]) -> None:
    """Draw rows of images, with a label to the left of each and a title above each column."""
    for (label, images), line in zip(rows, grid):
        for axes, image in zip(line, images):
            axes.imshow(np.round(image).astype(np.uint8), interpolation="nearest")
            axes.set_axis_on()
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for axes, text in zip(grid[0], titles):
        axes.set_title(text, fontsize="medium")


def preview_figure(faces: Faces, settings: PreviewSettings) -> Figure:
    """Draw faces as they are stored and as they are augmented, and each kind of augmentation alone."""
    augment = data.build_augmentation(settings)
    drawn: list[tuple[str, list[np.ndarray]]] = []
    for row in _choose(faces, settings.rows, settings.seed):
        image = resize_image(faces.image(row), (settings.image_size, settings.image_size))
        group = int(faces.index["group"][row])
        seeds = [np.array([settings.seed, row * DRAWS + draw], np.int64) for draw in range(len(STRENGTHS))]
        draws = [augment(image, seed, np.array(group, np.int32)) for seed in seeds]
        drawn.append((f"image {row}\ngroup {group}", [image, *draws]))
    easiest = drawn[0][1][0]
    alone = [(f"--{name}", [easiest, *kind_alone(easiest, name, settings.seed)]) for name in strength_names()]

    between = len(drawn)
    heights = [1.0] * between + [0.5] + [1.0] * len(alone)
    figure = Figure(figsize=(2 + 1.2 * (1 + len(STRENGTHS)), 0.6 + 1.25 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), 1 + len(STRENGTHS), gridspec_kw={"height_ratios": heights})
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_axis_off()
    flags = [f"--{name}={getattr(settings, name):g}" for name in [*settings.strengths, "augment_probability"]]
    figure.suptitle("Training images with " + textwrap.fill(" ".join(flags), 90))
    _show(grid[:between], drawn, ["stored", *(f"draw {number}" for number in range(1, 1 + len(STRENGTHS)))])
    _show(grid[between + 1 :], alone, ["stored", *(f"{strength:g}" for strength in STRENGTHS)])
    text = f"One kind alone, by its strength (of {DRAWS} draws the one that changes the image most)"
    # The first column need not be as wide as the line.
    grid[between, 0].text(0, 0.2, text, fontsize="large").set_in_layout(False)
    return figure


def main(settings: PreviewSettings) -> None:
    """Draw a sheet of augmented faces."""
    if not settings.train_data:
        raise InputError("no set: name stored sets with --train_data=DIR[,DIR] (made by ddl_tf.prepare)")
    settings.check_augmentation()
    faces = Faces(settings.train_data)
    settings.check_augmented_groups(faces.index["group"].unique().tolist())
    figure = preview_figure(faces, settings)
    with write_aside(Path(settings.output)) as aside:
        figure.savefig(aside)
    print(settings.output, file=sys.stderr)


if __name__ == "__main__":
    command.run(main, PreviewSettings)
