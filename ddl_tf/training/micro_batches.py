"""Gradient accumulation that is exact for losses over the whole batch."""

from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_version import apply_gradients, loss_to_differentiate
from ddl_tf.models import embedding_model
from ddl_tf.models.replay import keep_statistics, random_replay


def in_micro_batches(recognizer: tf.keras.Model, micro_batches: int) -> tf.keras.Model:
    """Let a recognizer's training step take its rows through the network in `micro_batches` parts, at least 1.

    Each replica cuts its own rows. The model that is returned has the same inputs, outputs, layers and weights, and is
    compiled and fitted as ever.

    References:
        Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
        https://arxiv.org/abs/2101.06983 (GradCache)
    """
    if micro_batches < 1:
        raise ValueError(f"micro_batches must be at least 1, got {micro_batches!r}")
    return _MicroBatchModel(recognizer, micro_batches)


class _MicroBatchModel(tf.keras.Model):
    """The recognizer; its step holds the activations of one part of the rows at a time.

    All parts go through the network once without a gradient; head, losses and metrics see all embeddings, and give
    their gradient; then each part goes through the network again and passes its rows' gradient on.
    """

    def __init__(self, recognizer: tf.keras.Model, micro_batches: int) -> None:
        super().__init__(recognizer.input, recognizer.output, name=recognizer.name)
        self.micro_batches = micro_batches
        network = embedding_model(recognizer)
        inputs = {"embedding": recognizer.output["embedding"], "label": recognizer.input["label"]}
        head = tf.keras.Model(inputs, recognizer.output["logits"])
        # Models in attributes would be among the layers of this one.
        self._parts = lambda: (network, head)

    def _split(self, rows: tf.Tensor) -> list[tf.Tensor]:
        count = rows.shape[0] or tf.shape(rows)[0]
        bounds = [part * count // self.micro_batches for part in range(self.micro_batches + 1)]
        return [rows[start:end] for start, end in zip(bounds, bounds[1:])]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Do one step of training."""
        inputs, targets, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        network, head = self._parts()
        images = self._split(inputs["image"])
        replay = random_replay(network)
        embeddings: list[tf.Tensor] = []
        for part in images:
            embeddings.append(network(_after(part, embeddings[-1:]), training=True))
        embedding = tf.concat(embeddings, 0)
        with tf.GradientTape() as tape:
            tape.watch(embedding)
            logits = head({"embedding": embedding, "label": inputs["label"]}, training=True)
            outputs = {"embedding": embedding, "logits": logits}
            loss = self.compute_loss(inputs, targets, outputs, weights)
            loss = loss_to_differentiate(self, loss, tf.shape(embedding)[0])
        embedding_gradient, *gradients = tape.gradient(loss, [embedding, *self.trainable_variables])
        replay()
        with keep_statistics(network):
            for part, part_gradient in zip(images, self._split(embedding_gradient)):
                done = [gradient for gradient in gradients if gradient is not None]
                with tf.GradientTape() as tape:
                    again = network(_after(part, done), training=True)
                more = tape.gradient(again, self.trainable_variables, output_gradients=part_gradient)
                # Either of two may be None.
                both = zip(gradients, more)
                gradients = [new if old is None else old if new is None else old + new for old, new in both]
        apply_gradients(self, gradients)
        return self.compute_metrics(inputs, targets, outputs, weights)


def _after(rows: tf.Tensor, inputs: list[tf.Tensor]) -> tf.Tensor:
    """The rows, once others are computed: parts that ran side by side would need memory side by side."""
    with tf.control_dependencies(inputs):
        return tf.identity(rows)
