"""Settings of a run that would change nothing beside its others: they are refused, since somebody meant something."""

from collections.abc import Sequence

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import refuse_ignored
from ddl_tf.training.settings import DDL_HISTOGRAMS, TrainSettings


def refuse_ignored_by_groups(settings: TrainSettings, groups: Sequence[int]) -> None:
    """Refuse what the groups of the training set make useless.

    Args:
        settings: of the run.
        groups: of which a batch has rows; with `made_student` the last of them is the made one.

    Raises:
        InputError: naming the setting and its value.
    """
    ungrouped = [-1] if settings.shuffled_rows else []
    settings.check_augmented_groups([*ungrouped, *groups])
    augmented = settings.augment_groups
    if settings.made_student and augmented and groups[-1] not in augmented:
        raise InputError(
            f"--augment_groups={','.join(map(str, augmented))} leaves the student of --made_student as easy as the "
            f"teacher: add its group, {groups[-1]}"
        )
    stored = len(groups) - settings.made_student
    refuse_ignored(settings, ["pairs_across"], stored > 1, "a training set with a hard group (python -m ddl_tf.mine)")
    ddl_terms = settings.embedding_loss == "ddl" or len(groups) > 1
    names = [name for name in DDL_HISTOGRAMS if name != "positive_threshold" or settings.remine_pairs == "none"]
    refuse_ignored(settings, names, ddl_terms, "--embedding_loss=ddl, or a hard group whose distributions are watched")
