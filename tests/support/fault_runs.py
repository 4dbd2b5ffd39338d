"""Small runs: their settings, what they end with, and one that the tests of faults disturb."""

import dataclasses
from pathlib import Path

import tensorflow as tf

from ddl_tf.models import load_checkpoint
from ddl_tf.training import TrainSettings, train
from ddl_tf.training.run_folder import read_log


def small_settings(faces, folder, **changes):
    """A small network with dropout; two epochs of three steps, a checkpoint after each."""
    network = {"backbone": "plain_small", "embedding_size": 16, "image_size": 32, "scale": 16.0, "dropout": 0.3}
    steps = {"epochs": 2, "steps_per_epoch": 3, "learning_rate": 0.05, "checkpoint_steps": 1}
    data = {"run_dir": str(folder), "train_data": [str(faces / "train")], "pairs": [str(faces / "easy")]}
    return TrainSettings(**{**data, **network, **steps, **changes})


def run(settings, strategy=None):
    tf.keras.backend.clear_session()
    return train(settings, strategy=strategy or tf.distribute.get_strategy())


def last_weights(folder):
    return load_checkpoint(f"{folder}/checkpoints/last.keras").get_weights()


class SmallRun:
    """Margin training alone; runs in the tests' process."""

    def __init__(self, faces, folder):
        self.faces, self.folder = faces, Path(folder)
        self.settings = small_settings(faces, folder, shuffled_rows=8)

    def run(self, **changes):
        return run(dataclasses.replace(self.settings, **changes))

    def checkpoints(self):
        """The steps that can be resumed from."""
        return sorted(int(file.stem[len("ckpt-") :]) for file in self.folder.glob("resume/ckpt-*.index"))

    def files(self):
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())

    def outcome(self):
        """What must not depend on any fault: weights, results and, but for the means of losses, the log."""
        log = read_log(self.folder / "log.csv")
        columns = [name for name in log if "/" in name or name in ("epoch", "learning_rate")]
        results = (self.folder / "results.json").read_text()
        weights = [weight.tolist() for weight in last_weights(self.folder)]
        return {"weights": weights, "log": log[columns].to_dict(), "results": results}
