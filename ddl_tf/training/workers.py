"""The processes that train together: which one this is, what they agree on, and what the chief does alone."""

import concurrent.futures
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Optional, TypeVar

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.replicas import average_statistics
from ddl_tf.models import embedding_model

T = TypeVar("T")


class Workers:
    """The `count` processes of a MultiWorkerMirroredStrategy, of which this is `index`; of any other strategy, one."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.index, self.count = 0, 1
        resolver = getattr(strategy, "cluster_resolver", None)
        cluster = resolver.cluster_spec().as_dict() if resolver else {}
        if resolver and cluster:
            chiefs = len(cluster.get("chief", []))
            self.index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
            self.count = chiefs + len(cluster.get("worker", []))

        @tf.function(input_signature=[tf.TensorSpec([self.count], tf.int64)])
        def add(numbers: tf.Tensor) -> tf.Tensor:
            # The copy is on the replica's device, which the reduction looks for.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(numbers))

        self._add = add

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the run folder."""
        return self.index == 0

    def exchange(self, number: int) -> list[int]:
        """Give a number of at most 62 bits to all workers, which call this at the same place; returns those of all."""
        if self.count == 1:
            return [number]
        numbers = [number if index == self.index else 0 for index in range(self.count)]
        total = self._strategy.run(self._add, args=(tf.constant(numbers, tf.int64),))
        per_worker = self._strategy.num_replicas_in_sync // self.count
        return [int(n) // per_worker for n in self._strategy.experimental_local_results(total)[0].numpy()]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Get through a block with all workers, or with none: InputError if this or another worker cannot go on."""
        try:
            yield
        except (InputError, OSError):
            self.exchange(0)
            raise
        went_on = self.exchange(1)
        if not all(went_on):
            raise InputError(f"worker {went_on.index(0)} cannot go on: see its message")

    def check_alike(self, what: str, text: str) -> None:
        """Refuse to go on, on all workers, if the text differs between them; `what` names it in the message."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        different = [index for index, number in enumerate(self.exchange(digest)) if number != digest]
        if different:
            raise InputError(f"worker {self.index} and worker {different[0]} differ in {what}")

    def distribute(self, make: Callable[[tuple[int, int]], tf.data.Dataset], rows: int) -> tf.data.Dataset:
        """Give every worker, and each of its replicas, its share of the rows of every step, as `fit` takes it.

        `make`: (worker, number of workers) -> the batches of that worker; `rows` are those of all workers together.
        """
        if self.count == 1:
            return make((0, 1))
        per_replica = rows // self._strategy.num_replicas_in_sync

        def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
            # The replicas take their batches in turn.
            batches = make((context.input_pipeline_id, context.num_input_pipelines)).rebatch(per_replica)
            return batches.prefetch(self._strategy.num_replicas_in_sync // self.count)

        return self._strategy.distribute_datasets_from_function(share)


class ChiefEmbedder:
    """The embedding part of a recognizer as checkpoints have it, for what the chief measures between steps.

    With several workers this is a copy outside of their strategy, in which every step would need them all.
    """

    def __init__(self, model: tf.keras.Model, workers: Workers) -> None:
        self._model, self.workers = embedding_model(model), workers
        self._copy: Optional[tf.keras.Model] = None

    def run(self, work: Callable[[tf.keras.Model], T]) -> Optional[T]:
        """Call `work` with the embedding model as it stands, on the chief; all workers call this at the same place."""
        if self.workers.count == 1:
            average_statistics(self._model)
            return work(self._model)
        weights = self._model.get_weights()
        if not self.workers.is_chief:
            return None
        # Keras calls back within the strategy's scope, which is that of a thread.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(self._on_copy, weights, work).result()

    def _on_copy(self, weights: list, work: Callable[[tf.keras.Model], T]) -> T:
        if self._copy is None:
            self._copy = tf.keras.models.clone_model(self._model)
        self._copy.set_weights(weights)
        return work(self._copy)
