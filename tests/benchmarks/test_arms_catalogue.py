import dataclasses
import functools

import occlusion
import pose
import pytest
import resolution
from absl import flags
from arms.catalogue import ALL, ARMS, chosen_arms
from arms.experiment import make_job
from arms.stages import ArmsSettings, started_from

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import define_flags, from_flags
from ddl_tf.evaluate import PairsSettings
from ddl_tf.training import TrainSettings

EXPERIMENTS = [pose.POSE, resolution.RESOLUTION, occlusion.OCCLUSION]


def parse(settings_class, arguments, monkeypatch):
    """Arguments -> settings, by flags of their own."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for kind in ("enum", "bool", "integer", "float", "string", "list", "multi_string"):
        define = functools.partial(getattr(flags, f"DEFINE_{kind}"), flag_values=values)
        monkeypatch.setattr(flags, f"DEFINE_{kind}", define)
    define_flags(settings_class)
    values(["program", *arguments])
    return from_flags(settings_class)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
@pytest.mark.parametrize("stage", ["tune", "run"])
def test_jobs_are_valid_settings_and_their_commands_give_them(experiment, stage, monkeypatch):
    for name, arm in ALL.items():
        for value in arm.values or (None,):
            job = make_job(experiment, stage, name, 3, value, 60)
            if arm.trained:
                settings = TrainSettings(**job.settings)
                words = job.command.split(" ")
                assert words[:3] == ["python", "-m", "ddl_tf.train"]
                assert parse(TrainSettings, words[3:], monkeypatch) == settings
                assert getattr(settings, arm.tuned) == value
                assert (settings.seed, settings.steps_per_epoch) == (3, 60)
                assert settings.init_checkpoint == "pretrain_3/checkpoints/last.keras"
                assert {name: getattr(settings, name) for name in arm.flags} == arm.flags
            else:
                assert PairsSettings(**job.settings).model == "pretrain_3/checkpoints/last.keras"


def test_commands_of_pose_stay_as_they_are():
    # What docs/results has of another command is refused, and would have to be run again.
    assert make_job(pose.POSE, "tune", "arcface", 5, 0.1, 60).command == (
        "python -m ddl_tf.train --run_dir=tune/arcface_0.1_5 --init_checkpoint=pretrain_5/checkpoints/last.keras "
        "--train_data=celeba,cfp_12 --seed=5 --backbone=plain_small --embedding_size=256 --image_size=48 --scale=32.0 "
        "--pairs_across --classify_pairs --epochs=1 --learning_rate=0.01 --schedule=constant --weight_decay=0.0005 "
        "--shuffled_rows=64 --rows_per_group=32 --pairs_per_group=32 --head=arcface --margin=0.1 --steps_per_epoch=60 "
        "--cfp_root=data/cfp --cfp_folds=3"
    )


def test_where_an_experiment_starts():
    assert started_from(pose.POSE, "random", "plain") == pose.POSE
    other = started_from(pose.POSE, "class_means", "augmented")
    assert other.name == "pose_class_means_augmented"
    augmented = make_job(other, "run", "arcface", 2, 0.5, 120).settings
    assert augmented["init_checkpoint"] == "pretrain_augmented_2/checkpoints/last.keras"
    assert augmented["head_start"] == "class_means"
    # The margin that is not tuned is that of the head alone.
    margins = {arm: make_job(other, "run", arm, 2, 0.25, 120).settings["margin"] for arm in ARMS if arm != "none"}
    assert [margins[arm] for arm in ("arcface", "cosface", "cosface_ddl", "arcface_ddl")] == [0.25, 0.25, 0.3, 0.5]
    # Fewer people to learn pose from: what is tuned is not tuned again.
    fewer = started_from(pose.pose_of(2), "class_means", "augmented")
    assert (fewer.name, fewer.tuned_as) == ("pose_100_people_class_means_augmented", other.name)
    assert fewer.test == dataclasses.replace(pose.POSE.test, train_data=["celeba", "cfp_12"])
    jobs = [make_job(poses, "tune", "arcface", 5, 0.5, 60) for poses in (pose.POSE, pose.pose_of(2))]
    assert jobs[0] == jobs[1]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: ArmsSettings(stages=["tune", "test"]), "there is no 'test'"),
        (lambda: ArmsSettings(seeds=[0, 5]), "--tune_seed=5 is one of --seeds"),
        (lambda: pose.Settings(folds=4), "--folds must be 1, 2 or 3, got 4: folds 4 and 5 are judged on"),
        (lambda: chosen_arms(["none", "ddl"]), "--arms=none,ddl: there is no arm 'ddl'; use none, arcface, "),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
