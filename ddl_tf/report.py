"""One page from stored evaluations and training runs: figures, tables, and what they say in words.

    python -m ddl_tf.report --evaluations=ArcFace=evaluations/arcface,DDL=evaluations/ddl \
        --easy=cfp_ff --hard=cfp_fp --runs=ArcFace=runs/arcface,DDL=runs/ddl --output=report

writes `report/index.html`, which needs no network and no other file, and its figures and tables as files.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import datetime
from pathlib import Path
from typing import Optional

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.metrics.bootstrap import check_replicates
from ddl_tf.reporting import changes, discarding, error_rates, group_differences, people, sections
from ddl_tf.reporting.comparisons import compare_models
from ddl_tf.reporting.curves import curves_section, read_runs
from ddl_tf.reporting.evaluations import EvaluatedModel, check_comparable, named_folders, read_evaluation, set_names
from ddl_tf.reporting.page import write_report
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
    # A run of the name of a model is drawn as the model is.
    styles = styles_of([model.name for model in models] + [run.name for run in runs])
    differences = compare_models(models, settings.replicates, settings.seed, settings.easy, settings.hard)
    parts = [curves_section(runs, styles)] if runs else []
    if models:
        easy, hard = settings.easy or "", settings.hard or ""
        both = [model for model in models if easy in model.sets and hard in model.sets]
        # Empty sections are left out.
        parts = [
            sections.findings(models, differences, settings.replicates),
            *([sections.gap(both, easy, hard)] if both else []),
            sections.headlines(models, differences),
            changes.changes(models, settings.columns, settings.worst_pairs, settings.replicates, settings.seed, styles),
            sections.curves_of_errors(models, settings.replicates, settings.seed, styles),
            error_rates.error_rates(models),
            sections.distributions(models),
            sections.identification(models, settings.replicates, settings.seed, styles),
            people.people(models, styles, settings.replicates, settings.seed),
            people.worst(models, settings.worst_pairs),
            sections.races(models, styles),
            group_differences.group_differences(models),
            sections.conditions(models, settings.columns, styles),
            discarding.discarding(models, settings.columns, discard_start, settings.replicates, settings.seed),
            *([sections.embedding_map(both, easy, hard, settings.tsne_images, settings.seed)] if both else []),
            *parts,
            sections.everything(models, differences),
            sections.provenance(models),
        ]
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    sets = set_names(models)
    subjects = [f"{', '.join(model.name for model in models)} on {', '.join(sets)}"] if models else []
    subjects += [f"training of {', '.join(run.name for run in runs)}"] if runs else []
    summary = f"{'; '.join(subjects)}. Made on {today} by ddl_tf {ddl_tf.__version__}."
    print(write_report(Path(settings.output), settings.title, summary, parts))


if __name__ == "__main__":
    command.run(main, ReportSettings)
