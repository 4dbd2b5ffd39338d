"""A training run from its settings: data, model, fit, and what remains in the run folder."""

import contextlib
import dataclasses
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError, TrainingStopped
from ddl_tf.common.files import as_os_errors, write_aside
from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.data.pipeline import check_memory, check_rows, training_dataset
from ddl_tf.data.sampling import StreamSampler
from ddl_tf.data.settings import AugmentationSettings
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.model import find_checkpoint
from ddl_tf.evaluation.sets import load_sets
from ddl_tf.mining.pairs import read_pairs
from ddl_tf.models import build_recognizer, initialise_from
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.training.checkpoints import ResumePoint, SaveForResume, StoppedBySignal
from ddl_tf.training.class_means import start_at_class_means
from ddl_tf.training.global_state import global_state_of_run
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.mining_plan import MiningPlan
from ddl_tf.training.monitoring import RunLog, SimilarityMonitor, Verification
from ddl_tf.training.objective import DISTILLATIONS, compile_recognizer
from ddl_tf.training.plots import plot_run
from ddl_tf.training.progress import TrainingProgress
from ddl_tf.training.run_folder import RunFolder, read_json
from ddl_tf.training.settings import TrainSettings
from ddl_tf.training.strategy import build_strategy
from ddl_tf.training.workers import Workers

# Exit code of a worker that cannot go on alone: "try again" in sysexits.h.
WORKER_LOST = 75
# Pairs of each group that the similarity monitor follows, and batches that they come in.
PROBE_PAIRS, PROBE_BATCHES = 32, 8


def _say(workers: Workers, text: str) -> None:
    if workers.is_chief:
        print(text, file=sys.stderr, flush=True)


def _segments(first_step: int, epochs: int, steps_per_epoch: int) -> list[tuple[int, int]]:
    """The steps still to do, cut so that Keras can fit each with whole epochs, or with a part of a single one."""
    end = epochs * steps_per_epoch
    boundary = min(-(-first_step // steps_per_epoch) * steps_per_epoch, end)
    return [(a, b) for a, b in ((first_step, boundary), (boundary, end)) if a < b]


def train(settings: TrainSettings, strategy: Optional[tf.distribute.Strategy] = None) -> list[dict[str, Any]]:
    """Train a recognizer, or go on with a run that was interrupted.

    The process is left as it was: see `global_state_of_run`.

    Args:
        settings: of the run.
        strategy: on which devices; by default that of `build_strategy`.

    Returns:
        The results on the verification sets at the end, as `evaluate_pairs` gives them; of several workers the chief
        alone has them.

    Raises:
        InputError: for settings or data that cannot be used.
        NotFiniteError: if a loss or weight is not finite.
        TrainingStopped: if a signal stopped the run before its end (`StoppedBySignal`), or another worker is gone.
    """
    if strategy and settings.cpu_replicas:
        raise InputError(
            f"--cpu_replicas={settings.cpu_replicas} has no effect beside a strategy: leave one of them out"
        )
    folder = RunFolder(Path(settings.run_dir or ""))
    # Several workers meet here, before there is any tensor.
    strategy = strategy or build_strategy(settings.cpu_replicas)
    workers = Workers(strategy)
    try:
        return _train_with(folder, settings, strategy, workers)
    except tf.errors.UnavailableError as error:
        if workers.count == 1:
            raise
        reason = next((line for line in error.message.splitlines() if "aborted" in line), error.message)
        message = f"worker {workers.index}: another is gone ({reason}); start all again to go on"
        print(message, file=sys.stderr)
        raise TrainingStopped(message, WORKER_LOST) from None


def _train_with(
    folder: RunFolder, settings: TrainSettings, strategy: tf.distribute.Strategy, workers: Workers
) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as opened:
        throw_away = None if workers.is_chief else Path(opened.enter_context(tempfile.TemporaryDirectory()))
        with workers.together():
            _check_several(settings, workers)
            faces = Faces(settings.train_data)
            if faces.num_identities < 2:
                raise InputError(
                    f"--train_data={','.join(settings.train_data)} has {faces.num_identities} identity, but training "
                    "needs at least 2: was it prepared with --root one folder too high?"
                )
            sets = load_sets(settings)
            plan = MiningPlan(settings, faces)
            if workers.is_chief:
                opened.enter_context(folder.open(settings))
            sampler = _build_sampler(settings, faces, plan)
            check_memory(sampler.num_rows // workers.count, (settings.image_size, settings.image_size))
            if settings.embedding_loss in DISTILLATIONS and len(sampler.groups) < 2:
                raise InputError(
                    f"--embedding_loss={settings.embedding_loss} distils from group 0 to others, but the training set "
                    "has no other: make hard groups with `python -m ddl_tf.mine`, or set --made_student"
                )
            settings.refuse_ignored_by_groups(sampler.groups)
        workers.check_alike(
            "their flags or training sets: give all workers the same command and copies of the same sets",
            json.dumps([dataclasses.asdict(settings), len(faces), faces.index["identity_key"].iloc[::997].tolist()]),
        )
        if workers.exchange(folder.results.exists())[0]:
            _say(workers, f"{folder.path} is complete")
            return read_json(folder.results, list) if workers.is_chief else []
        with global_state_of_run(settings.seed, settings.precision):
            results = _train(folder, settings, faces, sampler, sets, plan, strategy, workers, throw_away)
        # No worker leaves while another writes: its end would be taken for a crash.
        workers.exchange(0)
        return results


def _check_several(settings: TrainSettings, workers: Workers) -> None:
    if workers.count == 1:
        return
    alone = {
        "confusable": settings.confusable > 1,
        "remine_every": settings.remine_every > 0,
        "head_start": settings.head_start == "class_means",
        "sharded_head": settings.sharded_head,
    }
    for flag in (flag for flag, asked in alone.items() if asked):
        raise InputError(
            f"--{flag}={getattr(settings, flag)} needs one process that has all embeddings or class centers, but there "
            f"are {workers.count} workers: leave it out, or train in one process"
        )


def recognizer_of(settings: TrainSettings, num_identities: int) -> tf.keras.Model:
    """Build the recognizer of a run, with new weights.

    Args:
        settings: of the run.
        num_identities: of its training set.

    Returns:
        As `build_recognizer`, or `in_micro_batches`.
    """
    model = build_recognizer(
        settings.backbone,
        num_identities,
        head=settings.head,
        embedding_size=settings.embedding_size,
        input_shape=(settings.image_size, settings.image_size, 3),
        dropout=settings.dropout,
        margin=settings.margin,
        scale=settings.scale,
        sample_rate=settings.sample_rate,
        sharded_head=settings.sharded_head,
        sync_batch_norm=settings.sync_batch_norm,
        recompute=settings.recompute,
    )
    return in_micro_batches(model, settings.micro_batches) if settings.micro_batches > 1 else model


def _build_sampler(settings: TrainSettings, faces: Faces, plan: MiningPlan) -> StreamSampler:
    pairs = read_pairs(faces) if settings.mined_pairs else None
    mined = plan.mined if settings.remine_every else None
    sizes = settings.stream_sizes(settings.confusable)
    return StreamSampler(faces.index, sizes, settings.seed, pairs, plan.neighbours, mined)


def _monitor_sampler(settings: TrainSettings, faces: Faces) -> StreamSampler:
    """The rows that the similarity monitor follows, drawn as the run draws those of its groups."""
    pairs = read_pairs(faces) if settings.mined_pairs else None
    sizes = dataclasses.replace(
        settings.stream_sizes(),
        shuffled=0,
        per_group=0 if settings.pairs_per_group else min(settings.rows_per_group, 2 * PROBE_PAIRS),
        pairs_per_group=PROBE_PAIRS if settings.pairs_per_group else 0,
    )
    return StreamSampler(faces.index, sizes, settings.seed + 1, pairs)


def _monitor_augmentation(settings: TrainSettings, last_group: int) -> AugmentationSettings:
    """None, but for a student that is made by it."""
    if not settings.made_student:
        return AugmentationSettings(flip=False)
    names = [field.name for field in dataclasses.fields(AugmentationSettings)]
    as_the_run = AugmentationSettings(**{name: getattr(settings, name) for name in names})
    return dataclasses.replace(as_the_run, flip=False, augment_groups=[last_group])


def _train(
    folder: RunFolder,
    settings: TrainSettings,
    faces: Faces,
    sampler: StreamSampler,
    sets: list[PairSet],
    plan: MiningPlan,
    strategy: tf.distribute.Strategy,
    workers: Workers,
    throw_away: Optional[Path],
) -> list[dict[str, Any]]:
    if sampler.num_rows % strategy.num_replicas_in_sync:
        raise InputError(
            f"the batch of {sampler.num_rows} rows cannot be split evenly among {strategy.num_replicas_in_sync} "
            "replicas: change --shuffled_rows, --rows_per_group or --pairs_per_group"
        )
    if sampler.num_rows // strategy.num_replicas_in_sync % settings.micro_batches:
        raise InputError(
            f"--micro_batches={settings.micro_batches} does not divide the "
            f"{sampler.num_rows // strategy.num_replicas_in_sync} rows of each device"
        )
    steps_per_epoch = settings.steps_per_epoch or sampler.steps_per_epoch
    num_students = max(len(sampler.groups) - 1, 0)
    image_size = (settings.image_size, settings.image_size)
    with strategy.scope():
        try:
            model = recognizer_of(settings, faces.num_identities)
            compile_recognizer(model, settings, steps_per_epoch, num_students)
        except ValueError as error:
            # The arguments of layers, losses and metrics are settings here.
            raise InputError(str(error)) from None
        point = ResumePoint(folder.resume, model, throw_away)
        first_step = point.restore()
        if not first_step and settings.init_checkpoint:
            checkpoint = find_checkpoint(settings.init_checkpoint)
            parts = initialise_from(model, checkpoint)
            _say(workers, f"from {checkpoint}: {', '.join(parts)}")
            if settings.head_start == "class_means" and "head" not in parts:
                start_at_class_means(model, faces, settings.seed)
    workers.check_alike("the checkpoint that they found: --run_dir must be one folder that all share", str(first_step))
    _say(
        workers,
        f"{len(faces)} images of {faces.num_identities} identities; batches of {sampler.num_rows} rows on "
        f"{strategy.num_replicas_in_sync} device(s); {settings.epochs} epochs of {steps_per_epoch} steps"
        + (f"; resumed at step {first_step}" if first_step else ""),
    )
    augment = build_augmentation(settings)

    best = folder.best(settings.best_by) if first_step and workers.is_chief else None
    verification = Verification(
        sets,
        workers,
        throw_away or folder.checkpoints,
        settings.evaluate_every,
        settings.epochs,
        settings.best_by,
        -math.inf if best is None else best,
    )

    def before_checkpoint() -> None:
        plan.finish()
        if workers.is_chief:
            folder.keep(settings)

    every = settings.checkpoint_steps
    saver = SaveForResume(point, first_step, every, steps_per_epoch, before_checkpoint, workers.signal)
    total_steps = settings.epochs * steps_per_epoch
    callbacks: list[tf.keras.callbacks.Callback] = [verification]
    if workers.is_chief:
        callbacks += [
            TrainingProgress(total_steps, first_step, sampler.num_rows),
            RunLog(folder.log, first_step // steps_per_epoch),
            tf.keras.callbacks.TensorBoard(str(folder.tensorboard), write_graph=False),
        ]
    if num_students:
        monitor_sampler = _monitor_sampler(settings, faces)
        probe_augment = build_augmentation(_monitor_augmentation(settings, num_students))
        probe = training_dataset(faces, monitor_sampler, probe_augment, image_size, 0, PROBE_BATCHES, settings.seed)
        similarities = str(folder.tensorboard / "similarities")
        writer = tf.summary.create_file_writer(similarities) if workers.is_chief else tf.summary.create_noop_writer()
        callbacks.append(SimilarityMonitor(probe.cache(), workers, folder.path, writer))
    segments = _segments(first_step, settings.epochs, steps_per_epoch)
    if segments:
        # After the last step nothing is drawn, and what would be drawn from was not mined.
        callbacks += plan.begin(folder.mined, model, sampler, steps_per_epoch, first_step)
    # Last, so that a checkpoint is only written when all of the epoch's results are on disk.
    callbacks.append(saver)

    def batches(start: int, end: int) -> tf.data.Dataset:
        def share(shard: tuple[int, int]) -> tf.data.Dataset:
            return training_dataset(faces, sampler, augment, image_size, start, end, settings.seed, shard)

        return workers.distribute(share, sampler.num_rows)

    try:
        # Events for TensorBoard are written from within too.
        with plan, saver, as_os_errors(folder.path):
            for start, end in segments:
                model.fit(
                    batches(start, end),
                    initial_epoch=start // steps_per_epoch,
                    epochs=end // steps_per_epoch,
                    steps_per_epoch=min(steps_per_epoch, end - start),
                    callbacks=callbacks,
                    verbose=0,
                )
    except tf.errors.ResourceExhaustedError as error:
        raise InputError(
            f"the memory does not suffice for step {saver.step} of {sampler.num_rows} images "
            f"({error.message.splitlines()[0]}): make the batch or the network smaller"
        ) from None
    except tf.errors.OpError:
        # No checkpoint is written from here: of a step that failed, a part may have been done.
        way_on = f"when mended, the same command goes on from {point.latest or 'the start'}"
        _say(workers, f"step {saver.step + 1} failed; {way_on}")
        check_rows(faces, sampler.rows(saver.step).record)
        raise
    except StoppedBySignal as stop:
        workers.exchange(0)
        _say(workers, f"{stop}; the same command goes on from there")
        raise
    if not segments:
        # The run was killed between its last checkpoint and its results.
        verification.set_model(model)
        verification.evaluate()
    if not workers.is_chief:
        return []
    plot_run(folder)
    with write_aside(folder.results) as aside:
        aside.write_text(json.dumps(verification.results, indent=2) + "\n")
    return verification.results
