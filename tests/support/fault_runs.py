"""A small run that the tests of faults disturb."""

import dataclasses
from pathlib import Path

import tensorflow as tf

from ddl_tf.models import load_checkpoint
from ddl_tf.training import TrainSettings, train
from ddl_tf.training.run_folder import read_log


class SmallRun:
    """Margin training with dropout: two epochs of three steps, a checkpoint after each; runs in the tests' process."""

    def __init__(self, faces, folder):
        self.faces, self.folder = faces, Path(folder)
        network = {"backbone": "plain_small", "embedding_size": 16, "image_size": 32, "scale": 16.0, "dropout": 0.3}
        steps = {"shuffled_rows": 8, "epochs": 2, "steps_per_epoch": 3, "learning_rate": 0.05, "checkpoint_steps": 1}
        data = {"train_data": [str(faces / "train")], "pairs": [str(faces / "easy")]}
        self.settings = TrainSettings(run_dir=str(folder), **data, **network, **steps)

    def run(self, **changes):
        tf.keras.backend.clear_session()
        return train(dataclasses.replace(self.settings, **changes), strategy=tf.distribute.get_strategy())

    def checkpoints(self):
        """The steps that can be resumed from."""
        return sorted(int(file.stem[len("ckpt-") :]) for file in self.folder.glob("resume/ckpt-*.index"))

    def files(self):
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())

    def outcome(self):
        """What must not depend on any fault: weights, results and, but for the means of losses, the log."""
        weights = load_checkpoint(self.folder / "checkpoints/last.keras").get_weights()
        log = read_log(self.folder / "log.csv")
        columns = [name for name in log if "/" in name or name in ("epoch", "learning_rate")]
        results = (self.folder / "results.json").read_text()
        return {"weights": [w.tolist() for w in weights], "log": log[columns].to_dict(), "results": results}
