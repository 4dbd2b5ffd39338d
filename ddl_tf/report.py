"""One page from stored evaluations and training runs: figures, tables, and what they say in words.

    python -m ddl_tf.report --evaluations=ArcFace=evaluations/arcface,DDL=evaluations/ddl \
        --easy=cfp_ff --hard=cfp_fp --runs=ArcFace=runs/arcface,DDL=runs/ddl --output=report

writes `report/index.html`, which needs no network and no other file, and its figures and tables as files.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import matplotlib

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.metrics.bootstrap import check_replicates
from ddl_tf.reporting import changes, discarding, error_rates, group_differences, people, sections
from ddl_tf.reporting.comparisons import compare_models
from ddl_tf.reporting.curves import LoggedRun, curves_section, read_runs
from ddl_tf.reporting.evaluations import EvaluatedModel, check_comparable, named_folders, read_evaluation, set_names
from ddl_tf.reporting.page import Section, write_report
from ddl_tf.reporting.palette import styles_of


@dataclasses.dataclass
class ReportSettings:
    """What to report on, and where to."""

    evaluations: list[str] = setting(
        [],
        "Stored evaluations (`python -m ddl_tf.evaluate ... --store`), comma-separated, each name=folder or a folder; "
        "the first is the baseline that the others are tested against.",
    )
    runs: list[str] = setting([], "Training runs to draw the curves of, comma-separated, each name=folder or a folder.")
    easy: Optional[str] = setting(None, "Set of easy pairs, for the distributions of easy and hard and the map.")
    hard: Optional[str] = setting(None, "Set of hard pairs; needs --easy.")
    columns: list[str] = setting([], "Columns of the images to bin pairs by; by default all numeric ones.")
    output: str = setting("report", "Folder for index.html, figures/ and tables/.")
    title: str = setting("Face recognition, compared", "Title of the page.")
    discard_fmr: Optional[float] = setting(
        None,
        "False match rate of the threshold at which pairs of low quality are discarded; default: the least of 1e-3, "
        "1e-2 and 1e-1 at which three false matches of the set are expected.",
    )
    discard_fnmr: Optional[float] = setting(
        None, "Instead of --discard_fmr: the false non-match rate of that threshold, before any pair is discarded."
    )
    replicates: int = setting(1000, "Bootstrap replicates of bands and tests, at least 40.")
    seed: int = setting(0, "Seed of the bootstrap, and of the map.")
    worst_pairs: int = setting(
        8,
        "Worst pairs, and pairs that turned right or wrong, to show of each kind: as pictures of sets of "
        "`evaluate people`, by name of others; 0: none, and no faces on the page.",
    )
    tsne_images: int = setting(400, "Images of the map of embeddings, half easy, half hard.")


def _check_sets_and_columns(settings: ReportSettings, models: list[EvaluatedModel]) -> None:
    if bool(settings.easy) != bool(settings.hard):
        raise InputError("--easy and --hard: give both, or none")
    names = set_names(models)
    for flag, name in (("easy", settings.easy), ("hard", settings.hard)):
        if name and name not in names:
            raise InputError(f"--{flag}={name}: no model was evaluated on it, but on {', '.join(names) or 'nothing'}")
        if name and not any(model.sets[name].has_pairs for model in models if name in model.sets):
            raise InputError(f"--{flag}={name}: the set has no pairs; name a set of pairs")
    columns = sorted({str(name) for model in models for stored in model.sets.values() for name in stored.images})
    for name in settings.columns:
        if name not in columns:
            raise InputError(f"--columns={name}: no set has that column; choose of {', '.join(columns)}")


def _sections(
    settings: ReportSettings, models: list[EvaluatedModel], runs: list[LoggedRun], start: Optional[discarding.Start]
) -> Iterator[Section]:
    """The sections in their order; empty ones are left out of the page."""
    replicates, seed, columns = settings.replicates, settings.seed, settings.columns
    easy, hard = settings.easy or "", settings.hard or ""
    # A run of the name of a model is drawn as the model is.
    styles = styles_of([model.name for model in models] + [run.name for run in runs])
    both = [model for model in models if easy in model.sets and hard in model.sets]
    if models:
        differences = compare_models(models, replicates, seed, settings.easy, settings.hard)
        yield sections.findings(models, differences, replicates)
        if both:
            yield sections.gap(both, easy, hard)
        yield sections.headlines(models, differences)
        yield changes.changes(models, columns, settings.worst_pairs, replicates, seed, styles)
        yield sections.curves_of_errors(models, replicates, seed, styles)
        yield error_rates.error_rates(models)
        yield sections.distributions(models)
        yield sections.identification(models, replicates, seed, styles)
        yield people.people(models, styles, replicates, seed)
        yield people.worst(models, settings.worst_pairs)
        yield sections.races(models, styles)
        yield group_differences.group_differences(models)
        yield sections.conditions(models, columns, styles)
        yield discarding.discarding(models, columns, start, replicates, seed)
        if both:
            yield sections.embedding_map(both, easy, hard, settings.tsne_images, seed)
    if runs:
        yield curves_section(runs, styles)
    if models:
        yield sections.everything(models, differences)
        yield sections.provenance(models)


# Titles need no place looked for: no axis has its labels above.
@matplotlib.rc_context({"axes.titley": 1.0})
def main(settings: ReportSettings) -> None:
    """Write a report."""
    check_replicates(settings.replicates)
    if not settings.output:
        raise InputError("--output is missing: name the folder for the page")
    if not settings.evaluations and not settings.runs:
        raise InputError("nothing to report on: name --evaluations, or --runs; see --help")
    if settings.worst_pairs < 0:
        raise InputError(f"--worst_pairs={settings.worst_pairs}: must be at least 1, or 0 for no pictures")
    discard_start = discarding.start_rate(settings.discard_fmr, settings.discard_fnmr)
    folders = named_folders(settings.evaluations, "evaluations")
    models = [read_evaluation(name, folder) for name, folder in folders.items()]
    check_comparable(models)
    _check_sets_and_columns(settings, models)
    runs = read_runs(named_folders(settings.runs, "runs"))
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    sets = set_names(models)
    subjects = [f"{', '.join(model.name for model in models)} on {', '.join(sets)}"] if models else []
    subjects += [f"training of {', '.join(run.name for run in runs)}"] if runs else []
    summary = f"{'; '.join(subjects)}. Made on {today} by ddl_tf {ddl_tf.__version__}."
    parts = _sections(settings, models, runs, discard_start)
    # Processes would run a script that calls this again, from its beginning.
    is_command = __name__ == "__main__"
    print(write_report(Path(settings.output), settings.title, summary, parts, many=is_command and bool(models)))


if __name__ == "__main__":
    command.run(main, ReportSettings)
