"""On which devices a run trains: the GPUs of this machine, those of several machines, or logical CPU devices."""

import contextlib
import json
import os
import re
import signal
import threading
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.common.parallel import usable_cores
from ddl_tf.common.stops import listening
from ddl_tf.training.workers import Workers

# A collective waits in a thread for those of the other replicas: with too few threads all wait for ever. What is more
# than the replicas is for the exchange between machines.
SPARE_THREADS = 8


def workers_of(tf_config: Optional[str]) -> int:
    """Count the workers of a TF_CONFIG, the text of the environment variable, None or "" if not set: 1 if it has none.

    InputError if it is wrong, or does not say which of them this process is.
    """
    try:
        config = json.loads(tf_config or "{}")
    except ValueError as error:
        raise _bad(f"is not JSON ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("cluster", {}), dict):
        raise _bad("is no JSON object with a cluster in it")
    cluster = config.get("cluster", {})
    if not cluster:
        return 1
    unknown = sorted(set(cluster) - {"chief", "worker"})
    if unknown:
        raise _bad(f"names tasks of type {unknown[0]}, but all machines are alike here: name them all as workers")
    chiefs, workers = (_addresses(cluster, kind) for kind in ("chief", "worker"))
    addresses = chiefs + workers
    if not addresses or len(chiefs) > 1:
        raise _bad(f"names {len(chiefs)} chiefs and {len(workers)} workers")
    twice = [address for address in addresses if addresses.count(address) > 1]
    if twice:
        raise _bad(f"names {twice[0]} twice")
    task = config.get("task")
    kind, text = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    # Some schedulers write the index as text.
    if not isinstance(text, (int, str)) or not re.fullmatch("[0-9]{1,9}", str(text)):
        raise _bad(f"names the task index {text!r}, which is no number from 0 on")
    size = len(cluster.get(kind, []))
    if int(text) >= size:
        raise _bad(f"makes this process {kind} {int(text)}, but its cluster has {size} of them, from 0")
    return len(addresses)


def _addresses(cluster: dict[str, Any], kind: str) -> list[str]:
    addresses = cluster.get(kind, [])
    if not isinstance(addresses, list):
        raise _bad(f"has no list of {kind}s")
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
            raise _bad(f"names {address!r}, which is not host:port")
    return addresses


def _bad(what: str) -> InputError:
    return InputError(f"TF_CONFIG {what}: write it as docs/scaling.md says, or unset it to train on this machine alone")


def build_strategy(cpu_replicas: Optional[int] = None) -> tf.distribute.Strategy:
    """Choose the devices to train on.

    With a TF_CONFIG of several workers these are the GPUs of all of them, or the CPU of each; all other work of
    TensorFlow must come after this call, which returns when all workers are there. Otherwise these are the GPUs of
    this machine, or `cpu_replicas` logical devices of its CPU, or its CPU. InputError if TF_CONFIG is wrong, or names
    several workers beside `cpu_replicas`, or under Keras 3.
    """
    if workers_of(os.environ.get("TF_CONFIG")) > 1:
        if cpu_replicas:
            raise InputError(f"--cpu_replicas={cpu_replicas} is for one process, but TF_CONFIG names several workers")
        if IS_KERAS_3:
            raise InputError(
                "TF_CONFIG names several workers, which Keras 3 cannot train on: set TF_USE_LEGACY_KERAS=1 for Keras 2 "
                "(the package tf_keras; docs/versions.md)"
            )
        _spare_threads(1 + len(tf.config.list_physical_devices("GPU")))
        # The wait for the other workers is outside of Python: handlers are not called there.
        in_main = threading.current_thread() is threading.main_thread()
        with listening(signal.SIG_DFL) if in_main else contextlib.nullcontext():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
            Workers(strategy).exchange(0)
        return strategy
    if cpu_replicas:
        _spare_threads(cpu_replicas)
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * cpu_replicas
        )
        return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(cpu_replicas)])
    return tf.distribute.MirroredStrategy()


def _spare_threads(replicas: int) -> None:
    if not tf.config.threading.get_inter_op_parallelism_threads():
        tf.config.threading.set_inter_op_parallelism_threads(max(usable_cores(), replicas + SPARE_THREADS))
