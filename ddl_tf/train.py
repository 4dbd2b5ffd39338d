"""Train a face recognizer: `python -m ddl_tf.train --flagfile=recipes/X.cfg`.

Margin training (ArcFace or CosFace) first; then, from its checkpoint, fine-tuning with Distribution Distillation
Loss. The same command again resumes an interrupted run. The results on the verification sets are printed as JSON,
one line a set.
"""

import json

from ddl_tf import training
from ddl_tf.common import command


def main(settings: training.TrainSettings) -> None:
    """Train, and print the results."""
    for result in training.train(settings):
        print(json.dumps(result))


if __name__ == "__main__":
    command.run(main, training.TrainSettings)
