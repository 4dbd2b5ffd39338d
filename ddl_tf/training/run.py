"""A training run from its settings: data, model, fit, and what remains in the run folder."""

import json
import math
import sys
from pathlib import Path
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.data.augmentation_settings import AugmentationSettings
from ddl_tf.data.pipeline import check_rows, training_dataset
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces
from ddl_tf.data.verification import PairSet
from ddl_tf.errors import InputError
from ddl_tf.evaluation.model import find_checkpoint
from ddl_tf.evaluation.sets import load_sets
from ddl_tf.files import write_aside
from ddl_tf.mining.pairs import read_pairs
from ddl_tf.models import build_recognizer, initialise_from
from ddl_tf.training.checkpoints import ResumePoint, SaveForResume, StoppedBySignal
from ddl_tf.training.mining_plan import MiningPlan
from ddl_tf.training.monitoring import RunLog, SimilarityMonitor, Verification
from ddl_tf.training.objective import DISTILLATIONS, compile_recognizer
from ddl_tf.training.plots import plot_run
from ddl_tf.training.progress import TrainingProgress
from ddl_tf.training.run_folder import RunFolder, read_json
from ddl_tf.training.settings import TrainSettings

# Pairs of each group that the similarity monitor follows, and batches that they come in.
PROBE_PAIRS, PROBE_BATCHES = 32, 8


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _segments(first_step: int, epochs: int, steps_per_epoch: int) -> list[tuple[int, int]]:
    """The steps still to do, cut so that Keras can fit each with whole epochs, or with a part of a single one."""
    end = epochs * steps_per_epoch
    boundary = min(-(-first_step // steps_per_epoch) * steps_per_epoch, end)
    return [(a, b) for a, b in ((first_step, boundary), (boundary, end)) if a < b]


def train(settings: TrainSettings, strategy: Optional[tf.distribute.Strategy] = None) -> list[dict[str, Any]]:
    """Train a recognizer, or go on with a run that was interrupted.

    Args:
        settings: of the run.
        strategy: on which devices; by default a MirroredStrategy over all GPUs, or the CPU where there is none.

    Returns:
        The results on the verification sets at the end, as `evaluate_pairs` gives them.

    Raises:
        InputError: for settings or data that cannot be used.
        NotFiniteError: if a loss or weight is not finite.
        SystemExit: if a signal stopped the run before its end.
    """
    folder = RunFolder(Path(settings.run_dir or ""))
    faces = Faces(settings.train_data)
    sets = load_sets(settings)
    plan = MiningPlan(settings, faces)
    with folder.open(settings):
        sampler = _build_sampler(settings, faces, plan)
        if folder.results.exists():
            _say(f"{folder.path} is complete")
            return read_json(folder.results, list)
        return _train(folder, settings, faces, sampler, sets, plan, strategy)


def recognizer_of(settings: TrainSettings, num_identities: int) -> tf.keras.Model:
    """Build the recognizer of a run, with new weights.

    Args:
        settings: of the run.
        num_identities: of its training set.

    Returns:
        As `build_recognizer`.
    """
    return build_recognizer(
        settings.backbone,
        num_identities,
        head=settings.head,
        embedding_size=settings.embedding_size,
        input_shape=(settings.image_size, settings.image_size, 3),
        dropout=settings.dropout,
        margin=settings.margin,
        scale=settings.scale,
    )


def _build_sampler(settings: TrainSettings, faces: Faces, plan: MiningPlan) -> StreamSampler:
    pairs = read_pairs(faces) if settings.mined_pairs else None
    mined = plan.mined if settings.remine_every else None
    sizes = settings.stream_sizes(settings.confusable)
    return StreamSampler(faces.index, sizes, settings.seed, pairs, plan.neighbours, mined)


def _train(
    folder: RunFolder,
    settings: TrainSettings,
    faces: Faces,
    sampler: StreamSampler,
    sets: list[PairSet],
    plan: MiningPlan,
    strategy: Optional[tf.distribute.Strategy],
) -> list[dict[str, Any]]:
    strategy = strategy or tf.distribute.MirroredStrategy()
    if sampler.num_rows % strategy.num_replicas_in_sync:
        raise InputError(
            f"the batch of {sampler.num_rows} rows cannot be split evenly among {strategy.num_replicas_in_sync} "
            "replicas: change --shuffled_rows, --rows_per_group or --pairs_per_group"
        )
    tf.keras.utils.set_random_seed(settings.seed)
    # Dropout then keeps its random state in a variable, which the run's checkpoints hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.mixed_precision.set_global_policy(settings.precision)
    steps_per_epoch = settings.steps_per_epoch or sampler.steps_per_epoch
    num_students = max(len(sampler.groups) - 1, 0)
    if settings.embedding_loss in DISTILLATIONS and not num_students:
        raise InputError(
            f"--embedding_loss={settings.embedding_loss} distils from group 0 to others, but the training set has no "
            "other: make hard groups with `python -m ddl_tf.mine`, or set --made_student"
        )
    image_size = (settings.image_size, settings.image_size)
    with strategy.scope():
        model = recognizer_of(settings, faces.num_identities)
        try:
            compile_recognizer(model, settings, steps_per_epoch, num_students)
        except ValueError as error:
            # The arguments of losses and metrics are settings here.
            raise InputError(str(error)) from None
        point = ResumePoint(folder.resume, model)
        first_step = point.restore()
        if not first_step and settings.init_checkpoint:
            checkpoint = find_checkpoint(settings.init_checkpoint)
            _say(f"from {checkpoint}: {', '.join(initialise_from(model, checkpoint))}")
    _say(
        f"{len(faces)} images of {faces.num_identities} identities; batches of {sampler.num_rows} rows on "
        f"{strategy.num_replicas_in_sync} device(s); {settings.epochs} epochs of {steps_per_epoch} steps"
        + (f"; resumed at step {first_step}" if first_step else "")
    )
    augment = build_augmentation(settings)

    best = folder.best(settings.best_by) if first_step else None
    verification = Verification(
        sets,
        folder.checkpoints,
        settings.evaluate_every,
        settings.epochs,
        settings.best_by,
        -math.inf if best is None else best,
    )

    def before_checkpoint() -> None:
        plan.finish()
        folder.keep(settings)

    saver = SaveForResume(point, first_step, settings.checkpoint_steps, steps_per_epoch, before_checkpoint)
    total_steps = settings.epochs * steps_per_epoch
    callbacks: list[tf.keras.callbacks.Callback] = [
        TrainingProgress(total_steps, first_step, sampler.num_rows),
        verification,
        RunLog(folder.log, first_step // steps_per_epoch),
        tf.keras.callbacks.TensorBoard(str(folder.tensorboard), write_graph=False),
    ]
    if num_students:
        monitor_sampler = StreamSampler(faces.index, StreamSizes(pairs_per_group=PROBE_PAIRS), settings.seed + 1)
        as_they_are = build_augmentation(AugmentationSettings(flip=False))
        probe = training_dataset(faces, monitor_sampler, as_they_are, image_size, 0, PROBE_BATCHES, settings.seed)
        writer = tf.summary.create_file_writer(str(folder.tensorboard / "similarities"))
        callbacks.append(SimilarityMonitor(probe.cache(), folder.path, writer))
    callbacks += plan.begin(folder.mined, model, sampler, steps_per_epoch, first_step)
    # Last, so that a checkpoint is only written when all of the epoch's results are on disk.
    callbacks.append(saver)

    segments = _segments(first_step, settings.epochs, steps_per_epoch)
    try:
        with plan, saver:
            for start, end in segments:
                model.fit(
                    training_dataset(faces, sampler, augment, image_size, start, end, settings.seed),
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
        _say(f"step {saver.step + 1} failed; when mended, the same command goes on from {point.latest or 'the start'}")
        check_rows(faces, sampler.rows(saver.step).record)
        raise
    except StoppedBySignal as stop:
        _say(f"{stop}; the same command goes on from there")
        raise SystemExit(128 + stop.signal) from None
    if not segments:
        # The run was killed between its last checkpoint and its results.
        verification.set_model(model)
        verification.evaluate()
    plot_run(folder)
    with write_aside(folder.results) as aside:
        aside.write_text(json.dumps(verification.results, indent=2) + "\n")
    return verification.results
