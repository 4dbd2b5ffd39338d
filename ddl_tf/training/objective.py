"""What a run minimises: the loss on the logits, and the loss on the embeddings beside it."""

from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.losses import (
    DDLLoss,
    FocalLoss,
    HistogramLoss,
    LabelledAccuracy,
    MarginSoftmaxLoss,
    OHEMLoss,
    RKDLoss,
    SPLoss,
    TripletLoss,
    ddl_metrics,
)
from ddl_tf.training.optimizers import build_optimizer, build_schedule
from ddl_tf.training.setting_parts import LossSettings, OptimizerSettings
from ddl_tf.training.settings import TrainSettings

# These compare a student with the teacher; the others take the rows of all groups alike.
DISTILLATIONS = ("ddl", "rkd", "sp")


def _ddl_arguments(settings: LossSettings, num_students: int) -> dict[str, Any]:
    return {
        "positive_weight": settings.positive_weight,
        "negative_weight": settings.negative_weight,
        "order_weight": settings.order_weight,
        "num_nodes": settings.num_nodes,
        "similarity_range": (settings.similarity_low, settings.similarity_high),
        "bandwidth": settings.bandwidth,
        "positive_threshold": settings.positive_threshold,
        "stop_teacher_gradient": settings.stop_teacher_gradient,
        "num_groups": num_students + 1,
    }


def build_logits_loss(settings: LossSettings, label_smoothing: float, compact: bool) -> tf.keras.losses.Loss:
    """Make the loss on the logits (compact ones of a sampled head); ValueError for an argument out of its range."""
    losses: dict[str, Callable[[], tf.keras.losses.Loss]] = {
        "softmax": lambda: MarginSoftmaxLoss(label_smoothing, compact),
        "focal": lambda: FocalLoss(settings.focal_gamma, compact),
        "ohem": lambda: OHEMLoss(settings.ohem_keep, compact),
    }
    return losses[settings.logits_loss]()


def build_embedding_loss(settings: LossSettings, num_students: int) -> Optional[tf.keras.losses.Loss]:
    """Make the loss on the embeddings, None for none; ValueError if one of its arguments is out of its range."""
    losses: dict[str, Callable[[], tf.keras.losses.Loss]] = {
        "ddl": lambda: DDLLoss(**_ddl_arguments(settings, num_students)),
        "triplet": lambda: TripletLoss(settings.triplet_margin),
        "histogram": lambda: HistogramLoss(settings.histogram_bins),
        "rkd": lambda: RKDLoss(settings.rkd_distance_weight, settings.rkd_angle_weight),
        "sp": lambda: SPLoss(),
    }
    return losses[settings.embedding_loss]() if settings.embedding_loss != "none" else None


def _optimizer_of(settings: OptimizerSettings, steps_per_epoch: int) -> tf.keras.optimizers.Optimizer:
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
    return build_optimizer(settings.optimizer, schedule, settings.momentum, settings.weight_decay, settings.clip_norm)


def compile_recognizer(model: tf.keras.Model, settings: TrainSettings, steps_per_epoch: int, num_students: int) -> None:
    """Give a recognizer its losses, metrics and optimizer; `num_students` is 0 if the batches have no groups.

    Raises:
        ValueError: if an argument of a loss or metric is out of its range.
    """
    optimizer = _optimizer_of(settings, steps_per_epoch)
    compact = model.get_layer("head").compact
    losses: dict[str, tf.keras.losses.Loss] = {"logits": build_logits_loss(settings, settings.label_smoothing, compact)}
    loss_weights = {"logits": 1.0}
    metrics: dict[str, list[tf.keras.metrics.Metric]] = {"logits": [LabelledAccuracy(compact=compact)]}
    embedding_loss = build_embedding_loss(settings, num_students)
    if embedding_loss:
        losses["embedding"] = embedding_loss
        loss_weights["embedding"] = settings.embedding_weight
    if num_students:
        # Whatever is minimised: they show what it does to the distributions.
        metrics["embedding"] = ddl_metrics(num_students, **_ddl_arguments(settings, num_students))
    model.compile(optimizer, loss=losses, loss_weights=loss_weights, metrics=metrics, jit_compile=settings.jit_compile)
    make_state(model)


def make_state(model: tf.keras.Model) -> None:
    """Make what a compiled model's optimizer and metrics keep; else its first step does, and is traced twice for it."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer.build(model.trainable_variables)
    model.compiled_loss.build(model.output)
    model.compiled_metrics.build(model.output, model.output)
