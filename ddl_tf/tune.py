"""Which fine-tuning helps your hard faces? `python -m ddl_tf.tune --flagfile=recipes/tune_synthetic.cfg`.

Several losses and weights start from one network and train on the same rows. Each arm's value is chosen on validation
people by a number of the hard pairs, under a floor for the easy ones; the chosen ones are compared over several seeds.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

from ddl_tf import tuning


def main(settings: tuning.TuneSettings) -> None:
    """Compare, and print the verdict."""
    print(tuning.tune(settings))


if __name__ == "__main__":
    command.run(main, tuning.TuneSettings)
