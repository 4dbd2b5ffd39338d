"""A setting that would change nothing is refused in one line that names it and what it needs."""

import dataclasses

import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.mine import BatchSettings
from ddl_tf.training import TrainSettings, setting_parts

PLAIN = TrainSettings(run_dir="run", train_data=["set"], shuffled_rows=8)
PAIRS = dataclasses.replace(PLAIN, pairs_per_group=2)
MINED = dataclasses.replace(PAIRS, rows_per_group=2, remine_every=1, remine_pairs="hardest")


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (PLAIN, "mined_pairs", True),
        (PLAIN, "made_student", True),
        (PAIRS, "made_student", True),
        (dataclasses.replace(PAIRS, mined_pairs=True), "pairs_across", True),
        (PLAIN, "augment_probability", 0.5),
        (PLAIN, "augment_groups", [-1]),
        (dataclasses.replace(PLAIN, augment_probability=0.2), "augment_probability", 0.0),
        (PLAIN, "confusable", 2),
        (PAIRS, "neighbours_every", 20),
        (MINED, "remine_noise", "yaw > 9"),
        (MINED, "pairs_per_group", 0),
        (MINED, "remine_every", 20),
        (PAIRS, "remine_pairs_per_identity", 3),
        (PLAIN, "focal_gamma", 1.0),
        (PLAIN, "ohem_keep", 0.1),
        (dataclasses.replace(PLAIN, logits_loss="focal"), "label_smoothing", 0.1),
        (PLAIN, "embedding_weight", 2.0),
        (PLAIN, "num_nodes", 50),
        (dataclasses.replace(PAIRS, embedding_loss="ddl"), "triplet_margin", 0.5),
        (dataclasses.replace(PAIRS, embedding_loss="triplet"), "order_weight", 1.0),
        (dataclasses.replace(PLAIN, optimizer="adamw"), "momentum", 0.5),
        (PLAIN, "decay_epochs", [3.0]),
        (PLAIN, "polynomial_power", 1.0),
        (dataclasses.replace(PLAIN, schedule="constant"), "end_learning_rate", 0.01),
        (PLAIN, "cfp_protocols", ["FP"]),
        (PLAIN, "best_by", "accuracy"),
    ],
)
def test_what_changes_nothing_is_refused(settings, name, value):
    strengths = {"augment_blur": 0.5} if value == 0.0 else {}
    with pytest.raises(InputError, match=r"would be ignored|needs --pairs_per_group") as caught:
        dataclasses.replace(settings, **{name: value}, **strengths)
    assert "\n" not in str(caught.value)


def test_what_is_used_is_taken():
    for changes in (
        {"made_student": True, "augment_blur": 0.5, "rows_per_group": 2, "num_nodes": 50},
        {"remine_every": 1, "remine_pairs": "hardest", "mined_pairs": True, "pairs_per_group": 2, "pairs_across": True},
        {"schedule": "step", "decay_epochs": [30.0], "decay_factor": 0.5},
        {"schedule": "polynomial", "end_learning_rate": 0.01, "polynomial_power": 1.0},
        {"cfp_root": "cfp", "cfp_folds": [1], "best_by": "accuracy"},
    ):
        dataclasses.replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("changes", "groups", "message"),
    [
        ({"augment_blur": 0.5, "augment_groups": [9]}, [0, 1], "--augment_groups=9: no row is of this group, only of"),
        ({"augment_blur": 0.5, "augment_groups": [1], "made_student": True}, [0, 1, 2], "add its group, 2"),
        ({"pairs_across": True}, [0], "--pairs_across=True would be ignored"),
        ({"pairs_across": True, "made_student": True, "augment_blur": 0.5}, [0, 1], "--pairs_across=True would be"),
        ({"bandwidth": 0.2}, [0], "--bandwidth=0.2 would be ignored"),
    ],
)
def test_what_the_groups_of_the_set_make_useless_is_refused(changes, groups, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PAIRS, **changes).refuse_ignored_by_groups(groups)


def test_a_batch_that_is_drawn_refuses_the_same():
    for changes in (
        {"pairs_across": True, "shuffled_rows": 2},
        {"augment_groups": [1], "shuffled_rows": 2},
        {"made_student": True, "rows_per_group": 2},
    ):
        with pytest.raises(InputError, match="would be ignored"):
            BatchSettings(data=["set"], **changes)


def test_losses_that_xla_cannot_compile_are_refused_with_it():
    for loss in ("rkd", "sp"):
        with pytest.raises(InputError, match=f"--embedding_loss={loss} cannot be compiled"):
            dataclasses.replace(PAIRS, embedding_loss=loss, shared_identities=True, jit_compile=True)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("NetworkSettings", {"scale": 0.0}, "--scale must be above 0, got 0.0"),
        ("OptimizerSettings", {"warmup_epochs": 30.0}, "--warmup_epochs=30.0 is longer than --epochs=20"),
        ("DeviceSettings", {"micro_batches": 0}, "--micro_batches must be at least 1, got 0"),
        ("CheckpointSettings", {"evaluate_every": 0}, "--evaluate_every must be at least 1, got 0"),
    ],
)
def test_a_part_checks_itself_alone_and_in_the_settings_of_a_run(part, changes, message):
    with pytest.raises(InputError, match=message):
        getattr(setting_parts, part)(**changes)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PLAIN, **changes)
