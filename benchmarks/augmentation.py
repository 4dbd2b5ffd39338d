"""Images that a core reads and augments in a second, by each kind of augmentation: the table of docs/results/speed.md.

    python benchmarks/augmentation.py

draws synthetic faces, and reads, decodes and augments them as training does. Every kind touches every image. Counted is
the time of the CPU, so that what else the machine does in the meantime matters little.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.data import Faces, StreamSampler, StreamSizes, build_augmentation, prepare_synthetic, training_dataset
from ddl_tf.data.settings import AugmentationSettings, strength_names
from ddl_tf.synthetic.faces import SyntheticSettings

# Batches that are read before the time is taken: those that were prefetched.
WARM_UP = 8


@dataclasses.dataclass
class Settings:
    """How long to measure."""

    image_size: int = setting(112, "Height and width of the images, in pixels.")
    identities: int = setting(50, "Identities to draw, ten images each.")
    strength: float = setting(1.0, "Strength of each kind.")
    batch_size: int = setting(64, "Images of a batch.")
    batches: int = setting(40, "Batches to time, in each round.")
    rounds: int = setting(5, "Times that each kind is measured, in turn with the others.")


def _images_per_second(dataset: tf.data.Dataset, batches: int, batch_size: int) -> float:
    iterator = iter(dataset)
    for _ in range(WARM_UP):
        next(iterator)
    start = time.process_time()
    for _ in range(batches):
        next(iterator)
    return batches * batch_size / (time.process_time() - start)


def main(settings: Settings) -> None:
    """Measure, and print the table.

    Args:
        settings: the flags.
    """
    for name in ("image_size", "identities", "batch_size", "batches", "rounds"):
        if getattr(settings, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(settings, name)}")
    everything = dict.fromkeys(strength_names(), settings.strength)
    kinds = {
        "no augmentation": AugmentationSettings(flip=False),
        "`--flip` alone": AugmentationSettings(),
        **{
            f"`--{name}`": AugmentationSettings(augment_probability=1.0, **{name: strength})
            for name, strength in everything.items()
        },
        "all of them": AugmentationSettings(augment_probability=1.0, **everything),
        "all of them, each on a share of 0.2": AugmentationSettings(augment_probability=0.2, **everything),
    }
    with tempfile.TemporaryDirectory() as folder:
        prepare_synthetic(
            SyntheticSettings(
                output=folder,
                overwrite=True,
                identities=settings.identities,
                images_per_identity=10,
                test_identities=0,
                image_size=settings.image_size,
            )
        )
        faces = Faces([str(Path(folder) / "train")])
        sampler = StreamSampler(faces.index, StreamSizes(shuffled=settings.batch_size))
        size, steps = (settings.image_size, settings.image_size), WARM_UP + settings.batches
        datasets = {
            kind: training_dataset(faces, sampler, build_augmentation(augmentation), size, 0, steps)
            for kind, augmentation in kinds.items()
        }
        # In turn, so that a machine that slows down meets all kinds alike.
        rates = [
            [_images_per_second(dataset, settings.batches, settings.batch_size) for dataset in datasets.values()]
            for _ in range(settings.rounds)
        ]
    flip = list(kinds).index("`--flip` alone")
    per_second, relative = np.array(rates), np.array(rates) / np.array(rates)[:, [flip]]
    print(f"{settings.image_size} px, strength {settings.strength:g}, medians of {settings.rounds} rounds\n")
    print("| augmentation | images/s a core | of `--flip` alone |\n| --- | --- | --- |")
    for kind, rate, share in zip(kinds, np.median(per_second, 0), np.median(relative, 0)):
        print(f"| {kind} | {rate:,.0f} | {share:.2f} |")


if __name__ == "__main__":
    command.run(main, Settings)
