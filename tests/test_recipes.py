"""The recipes of full size: they parse, tell what they need, and train as they stand on small data."""

import dataclasses
import importlib.util
import itertools
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from absl import flags
from PIL import Image
from tiny_network import tiny_network  # noqa: F401

from ddl_tf import evaluate, mine, prepare
from ddl_tf.common.settings import define_flags, from_flags
from ddl_tf.data.store import Faces
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining.columns import write_columns
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import train

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {"prepare": prepare.COMMANDS, "mine": mine.COMMANDS, "evaluate": evaluate.COMMANDS}

spec = importlib.util.spec_from_file_location("benchmarks_recipes", ROOT / "benchmarks" / "recipes.py")
checker = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checker)
RECIPES = checker.full_size_recipes()
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """The included files are named from the folder that the command is started in."""
    monkeypatch.chdir(ROOT)


def parse(settings_class, arguments):
    """The settings that a command makes of its arguments, in a process whose flags are its own."""
    define_flags(settings_class)
    try:
        rest = flags.FLAGS(["command", *arguments])[1:]
        assert rest == []
        return from_flags(settings_class)
    finally:
        for field in dataclasses.fields(settings_class):
            delattr(flags.FLAGS, field.name)


def commands(comments, name):
    """(module, command, settings) of each command line under a comment."""
    for line in "\n".join(comments.get(name, [])).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        python, dash_m, module, command, *arguments = shlex.split(line)
        assert (python, dash_m, module.split(".")[0]) == ("python", "-m", "ddl_tf")
        module = module.split(".")[1]
        yield module, command, parse(COMMANDS[module][command][1], arguments)


@each_recipe
def test_parses_and_names_its_run(path):
    lines = path.read_text(encoding="ascii").splitlines()
    assert max(map(len, lines)) <= 120
    assert all(line.startswith("--") for line in itertools.dropwhile(lambda line: line.startswith("# "), lines))
    settings = checker.read_recipe(path)
    assert settings.run_dir == f"runs/{path.stem}"
    assert (settings.image_size, settings.embedding_size, settings.scale) == (112, 512, 64)
    assert (settings.momentum, settings.optimizer) == (0.9, "sgd")
    network = re.search(r"_(r50|r100)", path.stem)[1]
    assert settings.backbone == "iresnet" + network[1:]
    assert path.stem.startswith("ddl_") == (settings.embedding_loss == "ddl")


@each_recipe
def test_tells_data_import_hardware_and_aims_and_its_commands_are_commands(path):
    """Imports make what training reads, rules can be read, evaluations take the run's model."""
    comments, settings = checker.read_comments(path), checker.read_recipe(path)
    assert {"title", "data", "import", "hardware", "aims", "evaluate"} <= set(comments)
    assert checker.told_number(comments, "data", "identities") >= 50
    devices = checker.told_number(comments, "hardware", "GPU")
    rows = checker.told_number(comments, "hardware", "images each") or checker.told_number(comments, "hardware", "rows")
    groups = checker.told_number(comments, "data", "groups") or 0
    batch = settings.shuffled_rows + groups * (settings.rows_per_group + 2 * settings.pairs_per_group)
    assert f"a batch of {batch:,}." in " ".join(comments["hardware"])
    assert batch % devices == 0
    assert rows in (None, batch // devices)
    # Published numbers, or why there are none.
    aims = " ".join(comments["aims"])
    assert re.search(r"\d\d\.\d", aims) or "not at hand" in aims or "no published number" in aims
    imported = list(commands(comments, "import"))
    stored = [made.output for module, name, made in imported if module == "prepare" and name != "align"]
    assert stored == settings.train_data
    for module, _, mined in imported:
        if module == "mine":
            assert mined.data == settings.train_data
            assert len(mined.rules().hard) == checker.told_number(comments, "data", "groups") - 1
    evaluated = list(commands(comments, "evaluate"))
    assert evaluated
    for module, command, evaluation in evaluated:
        assert module == "evaluate"
        if command != "compare":
            assert evaluation.model == f"{settings.run_dir}/checkpoints/last.keras"


def test_ddl_starts_from_a_recipe_with_the_same_network_and_has_the_authors_numbers():
    starts = {path.stem: checker.read_recipe(path) for path in RECIPES}
    for name, settings in starts.items():
        if settings.embedding_loss == "none":
            assert settings.init_checkpoint is None
            continue
        base = starts[settings.init_checkpoint.split("/")[1]]
        assert settings.init_checkpoint == f"{base.run_dir}/checkpoints/last.keras"
        assert (base.backbone, base.head) == (settings.backbone, settings.head)
        # The head is taken over by the number of its identities: other people must not have the same number by chance.
        assert "scface" in name or base.train_data == settings.train_data
        # The authors' numbers.
        assert (settings.positive_weight, settings.negative_weight, settings.order_weight) == (0.1, 0.02, 0.5)
        assert (settings.epochs, settings.learning_rate, settings.decay_epochs) == (2, 0.001, [1.0])
        assert (settings.rows_per_group, settings.pairs_per_group, settings.shuffled_rows) == (32, 32, 0)
        assert (settings.weight_decay, settings.precision) == (5e-4, "float32")


def test_estimate():
    """Parts of the estimate, by hand, for a small network."""
    path = ROOT / "recipes" / "ddl_rfw_r100.cfg"
    settings = checker.read_recipe(path, "--backbone=plain_small", "--image_size=32")
    estimate = checker.estimate(settings, checker.read_comments(path))
    assert estimate["identities"] == 28_000
    assert (estimate["rows"], estimate["devices"]) == (4 * (32 + 64), 4)
    assert estimate["center weights"] == 28_000 * 512
    assert estimate["centers"] == pytest.approx(5 * 28_000 * 512 * 4 / 1e9)
    assert estimate["logits"] == pytest.approx(96 * 28_000 * 6 * 4 / 1e9)
    parts = sum(estimate[name] for name in ("network", "centers", "activations", "logits"))
    assert estimate["sum"] == pytest.approx(parts)


def test_random_batch_has_the_streams_of_a_recipe():
    settings = checker.read_recipe(ROOT / "recipes" / "ddl_rfw_r100.cfg", "--image_size=8")
    inputs, targets = checker.random_batch(settings, 100, 4, 8)
    identity, group = targets["embedding"].T
    assert inputs["image"].shape == (4 * 6, 8, 8, 3)
    for number in range(4):
        here = identity[group == number]
        assert sorted(np.unique(here, return_counts=True)[1]) == [1, 1, 2, 2]
        assert (inputs["label"][group == number] >= 0).sum() == 2


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Four groups by a race that is made up."""
    folder = tmp_path_factory.mktemp("faces")
    counts = {"identities": 16, "images_per_identity": 4, "test_identities": 0}
    prepare_synthetic(SyntheticSettings(output=str(folder), image_size=32, **counts))
    four = Faces([str(folder / "train")])
    write_columns(four, {"group": four.index["identity"].to_numpy(np.int64) % 4}, {"command": "test"})
    return str(folder / "train")


def test_one_step_of_each_family(faces, tmp_path, monkeypatch):
    """Margin training, and DDL from its checkpoint: schedules, losses and streams are the recipes' own."""
    monkeypatch.setattr("ddl_tf.training.run.plot_run", lambda folder: None)
    start = f"--init_checkpoint={tmp_path / 'ms1mv3_r50_arcface' / 'checkpoints' / 'last.keras'}"
    families = {
        "ms1mv3_r50_arcface": ("--shuffled_rows=8",),
        "ddl_rfw_r100": ("--rows_per_group=2", "--pairs_per_group=2", start),
    }
    for name, more in families.items():
        flags_after = (
            *(f"--run_dir={tmp_path / name}", f"--train_data={faces}", "--backbone=plain_small", "--image_size=32"),
            *("--embedding_size=16", "--scale=16", "--bin=", "--precision=float32", "--steps_per_epoch=1"),
            *("--epochs=1", *more),
        )
        train(checker.read_recipe(ROOT / "recipes" / f"{name}.cfg", *flags_after), tf.distribute.get_strategy())
        (row,) = pd.read_csv(tmp_path / name / "log.csv").to_dict("records")
        students = 3 if name.startswith("ddl_") else 0
        assert np.isfinite([row["loss"], *(row[f"embedding_gap_{number}"] for number in range(1, students + 1))]).all()


def block(heading):
    """The Python of a section of docs/recipes.md."""
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    return re.search(rf"## {heading}\n.*?```python\n(.*?)```", text, re.DOTALL)[1]


def test_vggface2_as_the_page_aligns_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y"]
    (tmp_path / "data/vggface2/bb_landmark").mkdir(parents=True)
    for name in ("n000002/0001_01", "n000002/0002_01", "n000003/0001_01"):
        path = tmp_path / "data/vggface2/train" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, [224, 224, 3]).astype(np.uint8)).save(path)
        lines.append(f'"{name}",' + ",".join(f"{value:.4f}" for value in (ARCFACE_TEMPLATE * 2).ravel()))
    (tmp_path / "data/vggface2/bb_landmark/loose_landmark_train.csv").write_text("\n".join(lines) + "\n")
    exec(compile(block("VGGFace2"), "docs/recipes.md", "exec"), {"__name__": "__main__"})
    arguments = ["--csv=data/vggface2_aligned/train.csv", "--output=datasets/vggface2"]
    prepare.csv(parse(prepare.CSVSettings, arguments))
    faces = Faces(["datasets/vggface2"])
    assert (len(faces), faces.num_identities, faces.image_size) == (3, 2, (112, 112))
    mine.quality(parse(mine.QualitySettings, ["--data=datasets/vggface2", f"--plots={tmp_path}"]))
    # The landmarks are those of the template, a frontal face.
    assert (Faces(["datasets/vggface2"]).index["measured_yaw"].abs() < 15).all()


def test_bupt_as_the_page_lists_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    races = ("African", "Asian", "Caucasian", "Indian")
    for number, race in enumerate(races):
        for image in range(2):
            path = tmp_path / "data/bupt_aligned" / race / f"m.{number}" / f"{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (112, 112), (60 * number, 90 * image, 0)).save(path)
    exec(compile(block("BUPT-Balancedface"), "docs/recipes.md", "exec"), {"__name__": "__main__"})
    prepare.csv(parse(prepare.CSVSettings, ["--csv=data/bupt_aligned/train.csv", "--output=datasets/bupt"]))
    comments = checker.read_comments(ROOT / "recipes" / "ddl_rfw_r100.cfg")
    (rules,) = (settings for module, _, settings in commands(comments, "import") if module == "mine")
    mine.rules(rules)
    index = Faces(["datasets/bupt"]).index
    assert dict(zip(index["race"], index["group"])) == {"Caucasian": 0, "African": 1, "Asian": 2, "Indian": 3}
