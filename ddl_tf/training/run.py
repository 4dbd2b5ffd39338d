"""A training run from its settings: data, model, fit, and what remains in the run folder."""

import contextlib
import dataclasses
import functools
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError, TrainingStopped
from ddl_tf.common.files import as_os_errors, write_aside
from ddl_tf.common.keras_version import random_state_in_variables
from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.data.features import feature_dataset
from ddl_tf.data.pipeline import check_memory, check_rows, training_dataset
from ddl_tf.data.sampling import StreamSampler
from ddl_tf.data.settings import AugmentationSettings
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.sets import load_sets
from ddl_tf.finetuning import FeatureCache, layers_of_last_blocks, train_only
from ddl_tf.mining.pairs import read_pairs
from ddl_tf.models import build_recognizer, embedding_model, initialise_from
from ddl_tf.models.checkpoints import has_parts, load_network
from ddl_tf.models.low_rank import add_low_rank
from ddl_tf.models.model_choice import find_checkpoint
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.training.checkpoints import ResumePoint, SaveForResume, Steps, StoppedBySignal
from ddl_tf.training.class_means import start_at_class_means
from ddl_tf.training.hard_mining import MiningPlan
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.monitoring import RunLog, SimilarityMonitor, TrainingProgress, Verification
from ddl_tf.training.objective import DISTILLATIONS, compile_recognizer
from ddl_tf.training.optimizers import base_optimizer
from ddl_tf.training.plots import plot_run
from ddl_tf.training.run_folder import RunFolder, read_json
from ddl_tf.training.settings import TrainSettings
from ddl_tf.training.strategy import build_strategy
from ddl_tf.training.workers import ChiefEmbedder, Workers

# Exit code of a worker that cannot go on alone: "try again" in sysexits.h.
WORKER_LOST = 75
# Pairs of each group that the similarity monitor follows, and batches that they come in.
PROBE_PAIRS, PROBE_BATCHES = 32, 8


@contextlib.contextmanager
def global_state_of_run(seed: int, precision: str) -> Iterator[None]:
    """Seed all random numbers and set Keras's precision policy, and leave them as they were before.

    Python's and NumPy's random numbers go on as if there had been no run. TensorFlow's global seed is set again, which
    begins its sequence anew.
    """
    policy = tf.keras.mixed_precision.global_policy()
    of_python, of_numpy = random.getstate(), np.random.get_state()
    global_seed, _ = tf.compat.v1.random.get_seed(1)
    try:
        tf.keras.utils.set_random_seed(seed)
        tf.keras.mixed_precision.set_global_policy(precision)
        with random_state_in_variables():
            yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        # What `get_seed` gives where no global seed was set.
        tf.random.set_seed(None if global_seed == 87654321 else global_seed)


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What the steps of `train` share; in `scratch` workers write what the chief alone keeps (None for the chief)."""

    settings: TrainSettings
    folder: RunFolder
    workers: Workers
    scratch: Optional[Path]
    faces: Faces
    sets: Sequence[PairSet]
    plan: MiningPlan
    sampler: StreamSampler

    @property
    def num_students(self) -> int:
        """The number of groups beside the teacher's; 0 if the batches have no groups."""
        return max(len(self.sampler.groups) - 1, 0)

    def steps(self, first: int) -> Steps:
        """Count the steps of a run of which `first` are done."""
        settings = self.settings
        per_epoch = settings.steps_per_epoch or self.sampler.steps_per_epoch
        return Steps(first, per_epoch, settings.epochs, settings.checkpoint_steps)

    def batches(
        self, sampler: StreamSampler, augmentation: AugmentationSettings, cache: Optional[FeatureCache]
    ) -> Callable[..., tf.data.Dataset]:
        """A function of first and last step, seed and shard: batches of images, or of the activations of a cache."""
        if cache:
            features = cache.features(self.faces.images(), "training set")
            return functools.partial(feature_dataset, features, sampler, augmentation.flip)
        image_size = (self.settings.image_size, self.settings.image_size)
        return functools.partial(training_dataset, self.faces, sampler, build_augmentation(augmentation), image_size)

    def say(self, text: str) -> None:
        """Print a line on stderr, if this is the chief."""
        if self.workers.is_chief:
            print(text, file=sys.stderr, flush=True)


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
    # Several workers meet here, before there is any tensor.
    strategy = strategy or build_strategy(settings.cpu_replicas)
    workers = Workers(strategy)
    try:
        return _train_with(settings, strategy, workers)
    except tf.errors.UnavailableError as error:
        if workers.count == 1:
            raise
        reason = next((line for line in error.message.splitlines() if "aborted" in line), error.message)
        message = f"worker {workers.index}: another worker is gone ({reason}); start all workers again to go on"
        print(message, file=sys.stderr)
        raise TrainingStopped(message, WORKER_LOST) from None


def _train_with(settings: TrainSettings, strategy: tf.distribute.Strategy, workers: Workers) -> list[dict[str, Any]]:
    folder = RunFolder(Path(settings.run_dir or ""))
    with contextlib.ExitStack() as opened:
        scratch = None if workers.is_chief else Path(opened.enter_context(tempfile.TemporaryDirectory()))
        with workers.together():
            _check_several(settings, workers)
            context = _open_data(settings, folder, workers, scratch)
            if workers.is_chief:
                opened.enter_context(folder.open(settings))
        faces = context.faces
        workers.check_alike(
            "their flags or training sets: give all workers the same command and copies of the same sets",
            json.dumps([dataclasses.asdict(settings), len(faces), faces.index["identity_key"].iloc[::997].tolist()]),
        )
        if workers.exchange(folder.results.exists())[0]:
            context.say(f"{folder.path} is complete")
            return read_json(folder.results, list) if workers.is_chief else []
        with global_state_of_run(settings.seed, settings.precision):
            results = _train(context, strategy)
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
        "feature_cache": settings.feature_cache is not None,
    }
    for flag in (flag for flag, is_set in alone.items() if is_set):
        raise InputError(
            f"--{flag}={getattr(settings, flag)} needs one process that has all embeddings or class centers, but there "
            f"are {workers.count} workers: leave it out, or train in one process"
        )


def _open_data(settings: TrainSettings, folder: RunFolder, workers: Workers, scratch: Optional[Path]) -> RunContext:
    faces = Faces(settings.train_data)
    if faces.num_identities < 2:
        raise InputError(
            f"--train_data={','.join(settings.train_data)} has {faces.num_identities} identity, but training "
            "needs at least 2: was it prepared with --root one folder too high?"
        )
    sets = load_sets(settings)
    plan = MiningPlan(settings, faces, settings.pairs_across, settings.positive_threshold, settings.seed)
    pairs = read_pairs(faces) if settings.mined_pairs else None
    mined = plan.mined if settings.remine_every else None
    sizes = settings.stream_sizes(settings.confusable)
    sampler = StreamSampler(faces.index, sizes, settings.seed, pairs, plan.neighbours, mined)
    check_memory(sampler.num_rows // workers.count, (settings.image_size, settings.image_size))
    if settings.embedding_loss in DISTILLATIONS and len(sampler.groups) < 2:
        raise InputError(
            f"--embedding_loss={settings.embedding_loss} distils from group 0 to others, but the training set "
            "has no other: make hard groups with `python -m ddl_tf.mine`, or set --made_student"
        )
    settings.refuse_ignored_by_groups(sampler.groups)
    return RunContext(settings, folder, workers, scratch, faces, sets, plan, sampler)


def recognizer_of(
    settings: TrainSettings, num_identities: int, network: Optional[tf.keras.Model] = None
) -> tf.keras.Model:
    """Build the recognizer of a run, of a network that is there or a new one; what is not to train is frozen."""
    model = build_recognizer(
        network or settings.backbone,
        num_identities,
        head=settings.head,
        embedding_size=None if network else settings.embedding_size,
        input_shape=(settings.image_size, settings.image_size, 3),
        dropout=None if network else settings.dropout,
        margin=settings.margin,
        scale=settings.scale,
        sample_rate=settings.sample_rate,
        sharded_head=settings.sharded_head,
        sync_batch_norm=settings.sync_batch_norm,
        recompute=settings.recompute,
    )
    if settings.lora_rank:
        alpha = settings.lora_rank if settings.lora_alpha is None else settings.lora_alpha
        blocks = settings.train_blocks
        among = None if blocks is None else layers_of_last_blocks(embedding_model(model), blocks)
        model = add_low_rank(model, settings.lora_rank, alpha, settings.lora_layers, among)
    # With LoRA the blocks say where its layers are.
    last_blocks = None if settings.lora_rank else settings.train_blocks
    train_only(embedding_model(model), last_blocks, settings.train_layers, settings.freeze_batch_norm)
    return model


def _train(context: RunContext, strategy: tf.distribute.Strategy) -> list[dict[str, Any]]:
    settings, workers = context.settings, context.workers
    replicas = strategy.num_replicas_in_sync
    rows = context.sampler.num_rows
    if rows % replicas:
        raise InputError(
            f"the batch of {rows} rows cannot be split evenly among {replicas} replicas: change --shuffled_rows, "
            "--rows_per_group or --pairs_per_group"
        )
    if rows // replicas % settings.micro_batches:
        raise InputError(
            f"--micro_batches={settings.micro_batches} does not divide the {rows // replicas} rows of each device"
        )
    with strategy.scope():
        model, cache, point, steps = _build_model(context)
        embedder = ChiefEmbedder(cache.upper if cache else model, workers)
    workers.check_alike("the checkpoint that they found: --run_dir must be one folder that all share", str(steps.first))
    context.say(
        f"{len(context.faces)} images of {context.faces.num_identities} identities; batches of "
        f"{rows} rows on {replicas} device(s); {steps.epochs} epochs of {steps.per_epoch} steps"
        + (f"; resumed at step {steps.first}" if steps.first else "")
    )
    best = context.folder.best(settings.best_by) if steps.first and workers.is_chief else -math.inf
    verification = Verification(
        context.sets, embedder, context.scratch or context.folder.checkpoints, settings, steps.epochs, best, cache
    )
    if steps.segments():
        _fit(context, model, cache, point, steps, verification)
    else:
        # The run was killed between its last checkpoint and its results.
        verification.evaluate()
    if not workers.is_chief:
        return []
    plot_run(context.folder)
    with write_aside(context.folder.results) as aside:
        aside.write_text(json.dumps(verification.results, indent=2) + "\n")
    return verification.results


def _build_model(context: RunContext) -> tuple[tf.keras.Model, Optional[FeatureCache], ResumePoint, Steps]:
    """Make the compiled model with the weights that this process begins with."""
    settings, faces = context.settings, context.faces
    of_checkpoint = settings.backbone == "checkpoint"
    network = load_network(find_checkpoint(settings.init_checkpoint or "")) if of_checkpoint else None
    try:
        model = recognizer_of(settings, faces.num_identities, network)
        cache = None
        if settings.feature_cache:
            cache = FeatureCache(embedding_model(model), Path(settings.feature_cache))
            model = cache.recognizer(model)
        elif settings.micro_batches > 1:
            model = in_micro_batches(model, settings.micro_batches)
        compile_recognizer(model, settings, context.steps(0).per_epoch, context.num_students)
    except ValueError as error:
        # The arguments of layers, losses and metrics are settings here.
        raise InputError(str(error)) from None
    point = ResumePoint(context.folder.resume, model, context.scratch)
    first = point.restore()
    if not first and settings.init_checkpoint:
        checkpoint = find_checkpoint(settings.init_checkpoint)
        # A plain Keras model is in the recognizer as it was loaded.
        is_plain = network is not None and not has_parts(network)
        parts = ["network"] if is_plain else initialise_from(model, network or checkpoint)
        context.say(f"from {checkpoint}: {', '.join(parts)}")
        if settings.head_start == "class_means" and "head" not in parts:
            start_at_class_means(model, faces, settings.seed, cache)
        base_optimizer(model).restart_pull()
    return model, cache, point, context.steps(first)


def _similarity_monitor(
    context: RunContext, embedder: ChiefEmbedder, cache: Optional[FeatureCache]
) -> SimilarityMonitor:
    """Follow rows that are drawn as the run draws those of its groups; a made student's are augmented, no others."""
    settings, folder = context.settings, context.folder
    sizes = dataclasses.replace(
        settings.stream_sizes(),
        shuffled=0,
        per_group=0 if settings.pairs_per_group else min(settings.rows_per_group, 2 * PROBE_PAIRS),
        pairs_per_group=PROBE_PAIRS if settings.pairs_per_group else 0,
    )
    pairs = read_pairs(context.faces) if settings.mined_pairs else None
    sampler = StreamSampler(context.faces.index, sizes, settings.seed + 1, pairs)
    augmentation = AugmentationSettings(flip=False)
    if settings.made_student:
        augmentation = dataclasses.replace(settings, flip=False, augment_groups=[context.num_students])
    probe = context.batches(sampler, augmentation, cache)(0, PROBE_BATCHES, settings.seed)
    is_chief, events = context.workers.is_chief, str(folder.tensorboard / "similarities")
    writer = tf.summary.create_file_writer(events) if is_chief else tf.summary.create_noop_writer()
    return SimilarityMonitor(probe.cache(), embedder, folder.path, writer)


def _fit(
    context: RunContext,
    model: tf.keras.Model,
    cache: Optional[FeatureCache],
    point: ResumePoint,
    steps: Steps,
    verification: Verification,
) -> None:
    settings, folder, workers = context.settings, context.folder, context.workers
    faces, sampler = context.faces, context.sampler
    make_batches = context.batches(sampler, settings, cache)

    def before_checkpoint() -> None:
        context.plan.finish()
        if workers.is_chief:
            folder.keep(settings)

    # By the largest signal of all workers they all stop: SIGTERM is above SIGINT.
    saver = SaveForResume(point, steps, before_checkpoint, lambda number: max(workers.exchange(number)))
    # Their order matters: a checkpoint comes when all of the epoch's results are on disk.
    callbacks: list[tf.keras.callbacks.Callback] = [verification]
    if workers.is_chief:
        callbacks += [
            TrainingProgress(steps.total, steps.first, sampler.num_rows),
            RunLog(folder.log, steps.first // steps.per_epoch),
            tf.keras.callbacks.TensorBoard(str(folder.tensorboard), write_graph=False),
        ]
    if context.num_students:
        callbacks.append(_similarity_monitor(context, verification.embedder, cache))
    callbacks += [*context.plan.begin(folder.mined, model, sampler, steps), saver]
    try:
        # Events for TensorBoard are written from within too.
        with contextlib.closing(context.plan), saver, as_os_errors(folder.path):
            for start, end in steps.segments():
                model.fit(
                    workers.distribute(functools.partial(make_batches, start, end, settings.seed), sampler.num_rows),
                    initial_epoch=start // steps.per_epoch,
                    epochs=end // steps.per_epoch,
                    steps_per_epoch=min(steps.per_epoch, end - start),
                    callbacks=callbacks,
                    verbose=0,
                )
    except tf.errors.ResourceExhaustedError as error:
        raise InputError(
            f"the memory does not suffice for step {saver.step} of {sampler.num_rows} images "
            f"({error.message.splitlines()[0]}): split the batch (--micro_batches), or make it or the network smaller"
        ) from None
    except tf.errors.OpError:
        # No checkpoint is written from here: of a step that failed, a part may have been done.
        checkpoint = point.latest or "the start"
        context.say(f"step {saver.step + 1} failed; once its cause is gone, the same command goes on from {checkpoint}")
        check_rows(faces, sampler.rows(saver.step).record)
        raise
    except StoppedBySignal as stop:
        workers.exchange(0)
        context.say(f"{stop}; the same command goes on from there")
        raise
