import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.launch import tf_config
from ddl_tf.training import TrainSettings
from ddl_tf.training.run import _check_several as check_several
from ddl_tf.training.strategy import build_strategy, workers_of
from ddl_tf.training.workers import Workers

TWO = ["a:1", "b:2"]


def config(cluster, task):
    return json.dumps({"cluster": cluster, "task": task})


@pytest.mark.parametrize(
    ("text", "index", "count"),
    [
        (None, 0, 1),
        (tf_config(["a:1"], 0), 0, 1),
        (tf_config(TWO, 1), 1, 2),
        (config({"chief": ["c:3"], "worker": TWO}, {"type": "chief", "index": 0}), 0, 3),
        (config({"chief": ["c:3"], "worker": TWO}, {"type": "worker", "index": "1"}), 2, 3),
    ],
)
def test_which_worker_a_config_makes_of_a_process(text, index, count, monkeypatch):
    assert workers_of(text) == count
    monkeypatch.setenv("TF_CONFIG", text or "{}")
    strategy = SimpleNamespace(cluster_resolver=tf.distribute.cluster_resolver.TFConfigClusterResolver())
    workers = Workers(strategy)
    assert (workers.index, workers.count) == (index, count)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker", "is not JSON"),
        ('{"cluster": ["a:1"]}', "is no JSON object with a cluster"),
        (config({"chief": ["a:1", "b:2"]}, {"type": "chief", "index": 0}), "names 2 chiefs and 0 workers"),
        (config({"ps": ["a:1"], "worker": TWO}, {"type": "ps", "index": 0}), "tasks of type ps"),
        (config({"worker": "a:1"}, {"type": "worker", "index": 0}), "has no list of workers"),
        (config({"worker": ["a", "b:2"]}, {"type": "worker", "index": 0}), "names 'a', which is not host:port"),
        (config({"worker": ["a:1", "a:1"]}, {"type": "worker", "index": 0}), "names a:1 twice"),
        (tf_config(TWO, 2), "makes this process worker 2, but its cluster has 2 of them"),
        (tf_config(TWO, -1), "index -1, which is no number"),
        (tf_config(TWO, "²"), "index .²., which is no number"),
        (config({"worker": TWO}, {"type": "chief", "index": 0}), "chief 0, but its cluster has 0"),
        (json.dumps({"cluster": {"worker": TWO}}), "index None"),
        (tf_config(TWO, 0), "--cpu_replicas=2 is for one process"),
    ],
)
def test_a_config_that_is_wrong_is_told_of_in_one_line(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=message) as error:
        build_strategy(cpu_replicas=2)
    assert "\n" not in str(error.value)
    assert "docs/scaling.md" in str(error.value) or "cpu_replicas" in message


@pytest.mark.parametrize(
    "change", [{"confusable": 2}, {"head_start": "class_means", "init_checkpoint": "x"}, {"sharded_head": True}]
)
def test_what_needs_one_process_is_refused_to_several(change):
    settings = TrainSettings(run_dir="runs/x", train_data=["faces"], rows_per_group=8, **change)
    flag, value = next(iter(change.items()))
    workers = Workers(tf.distribute.get_strategy())
    check_several(settings, workers)
    workers.count = 2
    with pytest.raises(InputError, match=f"--{flag}={value} .* but there are 2 workers: leave it out"):
        check_several(settings, workers)


def test_keras_3_names_the_lane_that_has_several_machines(monkeypatch):
    monkeypatch.setattr("ddl_tf.training.strategy.IS_KERAS_3", True)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(InputError, match="which Keras 3 cannot train on: set TF_USE_LEGACY_KERAS=1"):
        build_strategy()
