"""What a run minimises: the loss on the logits, and the loss on the embeddings beside it."""

from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

import ddl_tf.losses as losses
from ddl_tf.common.keras_version import IS_KERAS_3, build_for_fit
from ddl_tf.models import embedding_model
from ddl_tf.training.optimizers import base_optimizer, build_optimizer, build_schedule
from ddl_tf.training.setting_parts import LossSettings
from ddl_tf.training.settings import TrainSettings

if IS_KERAS_3:
    from ddl_tf.training.optimizers import LossScale

# These compare a student with the teacher; the others take the rows of all groups alike.
DISTILLATIONS = ("ddl", "rkd", "sp")


def _ddl_arguments(settings: LossSettings, num_students: int) -> dict[str, Any]:
    weights = ("positive_weight", "negative_weight", "order_weight", "overlap_weight")
    names = (*weights, "num_nodes", "bandwidth", "positive_threshold", "stop_teacher_gradient")
    arguments = {name: getattr(settings, name) for name in names}
    similarity_range = settings.similarity_low, settings.similarity_high
    return {**arguments, "similarity_range": similarity_range, "num_groups": num_students + 1}


def build_logits_loss(settings: LossSettings, label_smoothing: float, compact: bool) -> tf.keras.losses.Loss:
    """Make the loss on the logits (compact ones of a sampled head); ValueError for an argument out of its range."""
    if settings.logits_loss == "focal":
        return losses.FocalLoss(settings.focal_gamma, compact)
    if settings.logits_loss == "ohem":
        return losses.OHEMLoss(settings.ohem_keep, compact)
    return losses.MarginSoftmaxLoss(label_smoothing, compact)


def build_embedding_loss(settings: LossSettings, num_students: int) -> Optional[tf.keras.losses.Loss]:
    """Make the loss on the embeddings, None for none; ValueError if one of its arguments is out of its range."""
    makers: dict[str, Callable[[], Optional[tf.keras.losses.Loss]]] = {
        "none": lambda: None,
        "ddl": lambda: losses.DDLLoss(**_ddl_arguments(settings, num_students)),
        "triplet": lambda: losses.TripletLoss(settings.triplet_margin),
        "histogram": lambda: losses.HistogramLoss(settings.histogram_bins),
        "rkd": lambda: losses.RKDLoss(settings.rkd_distance_weight, settings.rkd_angle_weight),
        "sp": losses.SPLoss,
    }
    return makers[settings.embedding_loss]()


def compile_recognizer(model: tf.keras.Model, settings: TrainSettings, steps_per_epoch: int, num_students: int) -> None:
    """Give a recognizer its losses, metrics and optimizer; `num_students` is 0 if the batches have no groups.

    ValueError if an argument of a loss or metric is out of its range.
    """
    schedule = build_schedule(
        settings.schedule,
        settings.learning_rate,
        settings.epochs * steps_per_epoch,
        round(settings.warmup_epochs * steps_per_epoch),
        settings.end_learning_rate,
        settings.polynomial_power,
        [round(epoch * steps_per_epoch) for epoch in settings.decay_epochs],
        settings.decay_factor,
    )
    optimizer = build_optimizer(
        settings.optimizer, schedule, settings.momentum, settings.weight_decay, settings.clip_norm
    )
    if IS_KERAS_3 and tf.keras.mixed_precision.global_policy().name == "mixed_float16":
        # Else `compile` takes Keras's own.
        optimizer = LossScale(optimizer)
    compact = model.get_layer("head").compact
    minimised, weights = {"logits": build_logits_loss(settings, settings.label_smoothing, compact)}, {"logits": 1.0}
    embedding_loss = build_embedding_loss(settings, num_students)
    if embedding_loss:
        minimised["embedding"], weights["embedding"] = embedding_loss, settings.embedding_weight
    metrics: dict[str, list[tf.keras.metrics.Metric]] = {"logits": [losses.LabelledAccuracy(compact=compact)]}
    if num_students:
        # Whatever is minimised: they show what it does to the distributions.
        metrics["embedding"] = losses.ddl_metrics(num_students, **_ddl_arguments(settings, num_students))
    model.compile(optimizer, loss=minimised, loss_weights=weights, metrics=metrics, jit_compile=settings.jit_compile)
    network = embedding_model(model).trainable_variables
    if settings.network_rate != 1:
        base_optimizer(model).slow_down(network, settings.network_rate)
    if settings.start_pull:
        base_optimizer(model).pull(network, settings.start_pull)
    make_state(model)
    if IS_KERAS_3:
        rows = tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None], tf.int64)
        build_for_fit(model, dict(zip(("embedding", "logits"), rows)))


def make_state(model: tf.keras.Model) -> None:
    """Make what a compiled model's optimizer and metrics keep; else its first step does, and is traced twice for it."""
    if IS_KERAS_3:
        # `fit` makes the rest itself, before its first step.
        model.optimizer.build(model.trainable_variables)
        return
    base_optimizer(model).build(model.trainable_variables)
    model.compiled_loss.build(model.output)
    model.compiled_metrics.build(model.output, model.output)
