"""What starts without TensorFlow, which takes seconds to import: help texts, and what runs no network of it."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_evaluation
from onnx_builder import Network, end
from PIL import Image

from ddl_tf.runtimes.openvino_package import load_openvino

ROOT = Path(__file__).resolve().parents[1]
FILES = [*ROOT.glob("ddl_tf/*.py"), *ROOT.glob("ddl_tf/*/__main__.py")]
COMMANDS = sorted(
    file.parent.name if file.stem == "__main__" else file.stem for file in FILES if '"__main__"' in file.read_text()
)
SLOW = ["tensorflow", "keras", "sklearn", "scipy.stats"]

# Runs modules, each a list of its name and arguments, in forks of a process that has imported what most of them share,
# and prints the exit code of each, and which of the slow packages it has imported.
RUNNER = """
import json, os, runpy, sys
import numpy, pandas

lines, slow = map(json.loads, sys.argv[1:])
for name, *arguments in lines:
    if not os.fork():
        sys.argv[:] = [name, *arguments]
        code, out = 1, os.dup(1)
        os.dup2(2, 1)
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as exit:
            code = exit.code or 0
        finally:
            os.write(out, (json.dumps([code, [name for name in slow if name in sys.modules]]) + "\\n").encode())
            os._exit(0)
    os.wait()
"""


def run(*lines):
    arguments = [sys.executable, "-c", RUNNER, json.dumps(lines), json.dumps(SLOW)]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(results) == len(lines)
    return results, ran.stderr


@pytest.fixture(scope="module")
def helped():
    results, _ = run(*([f"ddl_tf.{name}", "--help"] for name in COMMANDS))
    return dict(zip(COMMANDS, results))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command(helped, command):
    """Subcommands import nothing further before they have parsed their flags."""
    assert helped[command] == [0, []]


def test_what_is_slow_would_be_seen():
    assert {"evaluate", "gallery", "train"} < set(COMMANDS)
    results, stderr = run(["scipy.stats.distributions"], ["ddl_tf.report"])
    assert results == [[0, ["scipy.stats"]], [2, []]]
    assert "nothing to report on" in stderr


def test_what_stored_evaluations_tell(tmp_path):
    """Only the map of embeddings, of --easy and --hard, takes scikit-learn."""
    models = [str(write_evaluation(tmp_path / name, noise)) for name, noise in (("one", 0.5), ("two", 1.0))]
    results, _ = run(
        ["ddl_tf.evaluate", "compare", f"--baseline={models[0]}", f"--candidate={models[1]}", "--replicates=40"],
        ["ddl_tf.report", f"--evaluations={','.join(models)}", f"--output={tmp_path / 'page'}", "--replicates=40"],
        ["ddl_tf.client.client"],
    )
    assert results == [[0, []]] * 3
    assert (tmp_path / "page" / "index.html").is_file()


@pytest.mark.parametrize("runtime, file", [("onnxruntime", "network.onnx"), ("openvino", "network.xml")])
def test_a_gallery_of_a_network_of_another_runtime(runtime, file, tmp_path):
    if not find_spec(runtime):
        pytest.skip(f"{runtime} is not installed")
    network = Network(("batch", 3, 32, 32))
    pooled = network.add("GlobalAveragePool", network.conv("image", 3, 16))
    onnx = network.write(tmp_path / "network.onnx", end(network, pooled, 16, 1))
    if runtime == "openvino":
        openvino = load_openvino(onnx)
        openvino.save_model(openvino.Core().read_model(onnx), tmp_path / file)
    for person, colour in (("anna", "red"), ("ben", "blue")):
        (tmp_path / "people" / person).mkdir(parents=True)
        for side in (32, 50):
            Image.new("RGB", (side, side), colour).save(tmp_path / "people" / person / f"{side}.png")
    shared = [
        f"--gallery={tmp_path / 'gallery'}",
        f"--model={tmp_path / file}",
        f"--images={tmp_path / 'people'}",
    ]
    results, stderr = run(
        ["ddl_tf.gallery", "enroll", *shared],
        ["ddl_tf.gallery", "search", *shared, f"--output={tmp_path / 'found.csv'}"],
    )
    assert results == [[0, []]] * 2, stderr
    best = pd.read_csv(tmp_path / "found.csv").query("rank == 1")
    assert [Path(path).parent.name for path in best["image"]] == best["person"].tolist() == 2 * ["anna"] + 2 * ["ben"]
    np.testing.assert_allclose(best["similarity"], 1, rtol=1e-5)
