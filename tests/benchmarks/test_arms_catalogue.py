import dataclasses
import functools

import occlusion
import pose
import pytest
import resolution
from absl import flags
from arms.catalogue import ALL, ARMS, VARIANTS, chosen_arms
from arms.experiment import PRETRAININGS, make_job
from arms.stages import ROOT, ArmsSettings, started_from

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
def test_jobs_are_valid_settings(experiment, stage):
    for name, arm in ALL.items():
        for value in arm.values or (None,):
            job = make_job(experiment, stage, name, 3, value, 60)
            if arm.trained:
                settings = TrainSettings(**job.settings)
                assert getattr(settings, arm.tuned) == value
                assert (settings.seed, settings.steps_per_epoch) == (3, 60)
                assert settings.init_checkpoint == "pretrain_3/checkpoints/last.keras"
                assert {name: getattr(settings, name) for name in arm.flags} == arm.flags
            else:
                assert PairsSettings(**job.settings).model == "pretrain_3/checkpoints/last.keras"


@pytest.mark.parametrize("name", ["arcface_ddl", "rkd", "arcface_no_pairs"])
def test_the_command_gives_the_same_settings(name, monkeypatch):
    job = make_job(resolution.RESOLUTION, "run", name, 2, 0.3, 60)
    words = job.command.split(" ")
    assert words[:3] == ["python", "-m", "ddl_tf.train"]
    assert parse(TrainSettings, words[3:], monkeypatch) == TrainSettings(**job.settings)


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
    plain, augmented = (make_job(start, "run", "arcface", 2, 0.5, 120).settings for start in (pose.POSE, other))
    assert augmented["init_checkpoint"] == "pretrain_augmented_2/checkpoints/last.keras"
    assert augmented["head_start"] == "class_means"
    changed = {name for name, value in augmented.items() if plain.get(name) != value}
    assert changed == {"init_checkpoint", "head_start", *PRETRAININGS["augmented"].shared}
    # The margin that is not tuned is that of the head alone.
    margins = {arm: make_job(other, "run", arm, 2, 0.25, 120).settings["margin"] for arm in ARMS if arm != "none"}
    assert {margins.pop("arcface"), margins.pop("cosface")} == {0.25}
    assert margins.pop("cosface_ddl") == 0.3
    assert set(margins.values()) == {0.5}


def test_fewer_people_to_learn_pose_from():
    assert pose.pose_of(3) is pose.POSE
    for folds, people, folder in ((1, 50, "cfp_1"), (2, 100, "cfp_12")):
        fewer = started_from(pose.pose_of(folds), "class_means", "augmented")
        assert fewer.name == f"pose_{people}_people_class_means_augmented"
        assert fewer.tuned_as == started_from(pose.POSE, "class_means", "augmented").name
        assert fewer.test == dataclasses.replace(pose.POSE.test, train_data=["celeba", folder])
        assert folder in fewer.sets
        # What is tuned is not tuned again.
        jobs = [make_job(poses, "tune", "arcface", 5, 0.5, 60) for poses in (pose.POSE, pose.pose_of(folds))]
        assert jobs[0] == jobs[1]
    with pytest.raises(InputError, match="--folds must be 1, 2 or 3, got 4: folds 4 and 5 are judged on"):
        pose.Settings(folds=4)


def test_an_augmented_network_goes_on_as_its_recipe_trained_it(monkeypatch):
    # All but where the data is.
    flags_of = {}
    for name, pretraining in PRETRAININGS.items():
        recipe = ROOT / "recipes" / f"{pretraining.recipe}.cfg"
        flags_of[name] = dataclasses.asdict(parse(TrainSettings, [f"--flagfile={recipe}"], monkeypatch))
        assert {flag: flags_of[name][flag] for flag in pretraining.shared} == pretraining.shared
    differ = {flag for flag, value in flags_of["plain"].items() if flags_of["augmented"][flag] != value}
    assert differ == {"run_dir", "epochs", "evaluate_every", *PRETRAININGS["augmented"].shared}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_tuning_and_test_share_no_folds(experiment):
    tuning, test = experiment.tuning, experiment.test
    assert not set(tuning.evaluation["cfp_folds"]) & set(test.evaluation["cfp_folds"])
    made = [split.evaluation.get("pairs", []) for split in (tuning, test)]
    assert not set(made[0]) & set(made[1])
    # The results know sets by the last part of their paths.
    assert [[path.rpartition("/")[2] for path in paths] for paths in made] == [
        [name for name in experiment.hard if name != "cfp_fp"]
    ] * 2
    for split in (tuning, test):
        assert {*split.train_data, *split.evaluation.get("pairs", [])} <= set(experiment.sets)


def test_chosen_arms():
    assert chosen_arms([]) == list(ARMS)
    assert chosen_arms(["rkd", "none", *VARIANTS]) == ["none", "rkd", *VARIANTS]
    with pytest.raises(InputError, match="--arms=none,ddl: there is no arm 'ddl'; use none, arcface, "):
        chosen_arms(["none", "ddl"])


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"stages": ["tune", "test"]}, "there is no 'test'"),
        ({"seeds": [0, 5]}, "--tune_seed=5 is one of --seeds"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"workers": 0}, "--workers must be at least 1"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        ArmsSettings(**wrong)
