"""The recipes of full size, as far as they can be checked without their data: the numbers of docs/results/speed.md.

    python benchmarks/recipes.py --step_rows=4

reads each recipe as `python -m ddl_tf.train` does, builds its network with as many identities as the recipe's data has,
and estimates the memory of a device. With `--step_rows` it also makes a training step on random images, in float32, of
the true network at 112 px with all identities, in a process of its own, and tells its time and peak memory.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import multiprocessing
import re
import resource
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np
from absl import flags

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import define_flags, from_flags, setting
from ddl_tf.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
INCLUDES = "--flagfile=recipes/parts/"
# Matrices of rows x identities that a step holds: cosines, clipped, with the margin, scaled, and two gradients.
LOGITS = 6
# The class centers: weights, gradient, momentum, centers of unit norm and their gradient.
CENTERS = 5
GB = 1e9


@dataclasses.dataclass
class Settings:
    """Which recipes, and how much to check."""

    recipes: list[str] = setting([], "Recipes to check; by default all that include a part of recipes/parts.")
    step_rows: list[int] = setting([], "Also make a training step of so many rows of each (about, with groups).")


def full_size_recipes() -> list[Path]:
    """List the recipes of full size.

    Returns:
        Those that include a file of recipes/parts, sorted.
    """
    return sorted(path for path in (ROOT / "recipes").glob("*.cfg") if INCLUDES in path.read_text())


def read_recipe(path: Path, *more: str) -> TrainSettings:
    """Read a recipe as the command does; the working directory is the one that it is started in.

    Args:
        path: of the recipe.
        *more: flags after it.

    Returns:
        The settings.

    Raises:
        InputError: if the flags do not fit together.
        flags.Error: if a flag does not exist, has a wrong value, or an included file is missing.
    """
    define_flags(TrainSettings)
    try:
        flags.FLAGS(["train", f"--flagfile={path}", *more])
        return from_flags(TrainSettings)
    finally:
        for field in dataclasses.fields(TrainSettings):
            delattr(flags.FLAGS, field.name)


def read_comments(path: Path) -> dict[str, list[str]]:
    """Read what the comments at the top of a recipe tell.

    Args:
        path: of the recipe.

    Returns:
        The lines of each of data, import, hardware, aims, source, evaluate and note that it has.
    """
    comments: dict[str, list[str]] = {}
    name = "title"
    for line in path.read_text().splitlines():
        if not line.startswith("# "):
            break
        match = re.match(r"# (data|import|hardware|aims|source|evaluate|note): ?(.*)", line)
        name, text = match.groups() if match else (name, line[2:])
        comments.setdefault(name, []).append(text)
    return comments


def told_number(comments: dict[str, list[str]], name: str, what: str) -> Optional[int]:
    """Find a number that a recipe tells of its data or hardware.

    Args:
        comments: of the recipe.
        name: of the comment.
        what: the word after the number, such as "identities".

    Returns:
        The first such number; None if there is none.
    """
    match = re.search(rf"([\d,]+) {what}", " ".join(comments[name]))
    return int(match[1].replace(",", "")) if match else None


def build(settings: TrainSettings, identities: int) -> Any:
    """Build the network of a recipe.

    Args:
        settings: of the recipe.
        identities: of its data.

    Returns:
        The recognizer.
    """
    from ddl_tf.training.run import recognizer_of

    return recognizer_of(settings, identities)


def estimate(settings: TrainSettings, comments: dict[str, list[str]]) -> dict[str, float]:
    """Estimate what a recipe needs of each device.

    Args:
        settings: of the recipe.
        comments: of the recipe.

    Returns:
        Numbers by name: identities, rows of a device, weights, steps, and GB of its parts.
    """
    identities = told_number(comments, "data", "identities")
    devices = told_number(comments, "hardware", "GPU")
    if identities is None or devices is None:
        raise InputError("a recipe must tell `N identities` of its data and `N GPU` of its hardware")
    groups = told_number(comments, "data", "groups") or 0
    model = build(settings, identities)
    rows = settings.shuffled_rows + groups * (settings.rows_per_group + 2 * settings.pairs_per_group)
    rows_per_device = rows / devices
    centers = sum(int(np.prod(weight.shape)) for weight in model.get_layer("head").weights)
    network = model.count_params() - centers
    layers = model.get_layer("backbone").layers
    outputs = sum(int(np.prod(layer.output.shape[1:])) for layer in layers if layer.weights or "add" in layer.name)
    half = settings.precision != "float32"
    images = told_number(comments, "data", "images")
    per_epoch = settings.steps_per_epoch or (images and settings.shuffled_rows and -(-images // rows))
    parts = {
        "network": network * (12 + (2 if half else 0)) / GB,
        "centers": CENTERS * 4 * centers / GB,
        "activations": rows_per_device * outputs * (2 if half else 4) / GB,
        "logits": rows_per_device * LOGITS * 4 * identities / GB,
    }
    return {
        "identities": identities,
        "rows": rows,
        "devices": devices,
        "network weights": network,
        "center weights": centers,
        "outputs of an image": outputs,
        "steps": per_epoch * settings.epochs if per_epoch else float("nan"),
        **parts,
        "sum": sum(parts.values()),
    }


def random_batch(settings: TrainSettings, identities: int, groups: int, rows: int) -> tuple[Any, Any]:
    """Make a batch of noise with the streams of a recipe.

    Args:
        settings: of the recipe.
        identities: to draw from.
        groups: of its data.
        rows: so many shuffled rows; with groups a quarter of them are single rows of each, and as many pairs.

    Returns:
        Inputs and targets, as `training_dataset` makes them.
    """
    rng = np.random.default_rng(0)
    columns: list[tuple[int, int, int]] = []
    if settings.shuffled_rows:
        columns += [(person, -1, person) for person in rng.integers(0, identities, rows).tolist()]
    for group in range(groups if settings.pairs_per_group else 0):
        single, paired = np.split(rng.choice(identities, 2 * max(rows // 4, 1), replace=False), 2)
        columns += [(person, group, person) for person in single.tolist()]
        columns += [(person, group, -1) for person in paired.tolist() for _ in range(2)]
    identity, group, label = np.array(columns, np.int64).T
    image = rng.uniform(0, 255, [len(columns), settings.image_size, settings.image_size, 3]).astype(np.float32)
    return {"image": image, "label": label}, {"embedding": np.stack([identity, group], 1), "logits": label}


def step(path: str, rows: int) -> dict[str, float]:
    """Make one training step of a recipe, in float32: halves are for GPUs.

    Args:
        path: of the recipe.
        rows: see `random_batch`.

    Returns:
        Rows, seconds of the step with the tracing of its graph, peak memory of the process in GB, and the losses.

    Raises:
        AssertionError: if a loss or weight is not finite.
    """
    import tensorflow as tf

    from ddl_tf.training.objective import compile_recognizer

    settings, comments = read_recipe(Path(path)), read_comments(Path(path))
    identities, groups = told_number(comments, "data", "identities") or 0, told_number(comments, "data", "groups") or 0
    tf.keras.utils.set_random_seed(0)
    model = build(settings, identities)
    compile_recognizer(model, settings, 100, max(groups - 1, 0))
    inputs, targets = random_batch(settings, identities, groups, rows)
    began = time.time()
    losses = model.train_on_batch(inputs, targets, return_dict=True)
    seconds = time.time() - began
    if not all(np.isfinite(value) for name, value in losses.items() if name.endswith("loss")):
        raise AssertionError(f"{path}: {losses}")
    if not all(bool(tf.reduce_all(tf.math.is_finite(weight))) for weight in model.trainable_weights):
        raise AssertionError(f"{path}: a weight is not finite after the step")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
    return {"rows": len(inputs["label"]), "seconds": seconds, "peak": peak, "loss": losses["loss"]}


def _fresh(path: Path, rows: int) -> dict[str, float]:
    """A process of its own, whose peak memory is that of this step."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step, (str(path), rows))


def main(settings: Settings) -> None:
    """Check the recipes, and print the table.

    Args:
        settings: the flags.
    """
    header = ["recipe", "identities", "weights, M: network + centers", "steps", "rows on devices"]
    header += ["GB a device: network", "centers", "activations", "logits", "together"]
    header += [f"a step here of {rows}: rows, s, peak GB" for rows in settings.step_rows]
    print("|", " | ".join(header), "|")
    print("|" + " --- |" * len(header), flush=True)
    for path in [Path(name) for name in settings.recipes] or full_size_recipes():
        estimated = estimate(read_recipe(path), read_comments(path))
        cells = [
            f"`{path.stem}`",
            f"{estimated['identities']:,}",
            f"{estimated['network weights'] / 1e6:.1f} + {estimated['center weights'] / 1e6:.1f}",
            "" if np.isnan(estimated["steps"]) else f"{estimated['steps']:,.0f}",
            f"{estimated['rows']:,} on {estimated['devices']}",
            *(f"{estimated[name]:.1f}" for name in ("network", "centers", "activations", "logits", "sum")),
        ]
        for rows in settings.step_rows:
            done = _fresh(path, rows)
            cells.append(f"{done['rows']}, {done['seconds']:.0f}, {done['peak']:.1f}")
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
