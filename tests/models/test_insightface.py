import json
from pathlib import Path

import numpy as np
import pytest
from insightface_state import made_up_images, made_up_tensor, write_pth

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import load_embedding_model
from ddl_tf.models import convert_insightface, load_checkpoint
from ddl_tf.prepare import WeightsSettings, weights

# Made with InsightFace's PyTorch networks by tests/golden/make_backbone_golden.py.
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "backbone_golden.npz")


def made_up_state(backbone):
    shapes = json.loads(GOLDEN[f"{backbone}/shapes"].tobytes())
    return {name: made_up_tensor(name, shape) for name, shape in shapes.items()}


def assert_golden(embeddings, backbone):
    expected = GOLDEN[f"{backbone}/embeddings"]
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=1e-4 * expected.std())


DEEP = [pytest.param(name, marks=pytest.mark.heavy) for name in ("iresnet34", "iresnet50", "iresnet100")]


@pytest.mark.parametrize("backbone", ["iresnet18", "mobilefacenet", *DEEP])
def test_embeddings_are_those_of_the_pytorch_network(backbone, tmp_path):
    write_pth(tmp_path / "backbone.pth", made_up_state(backbone))
    assert_golden(convert_insightface(tmp_path / "backbone.pth", backbone)(made_up_images()), backbone)


def test_a_state_dict_is_a_model_to_evaluate(tmp_path):
    write_pth(tmp_path / "backbone.pth", made_up_state("mobilefacenet"))
    model = load_embedding_model(str(tmp_path / "backbone.pth"), "mobilefacenet")
    assert_golden(model(made_up_images()), "mobilefacenet")


def test_the_command_writes_a_checkpoint(tmp_path, capsys):
    write_pth(tmp_path / "backbone.pth", made_up_state("mobilefacenet"))
    output = tmp_path / "new" / "start.keras"
    weights(WeightsSettings(str(tmp_path / "backbone.pth"), "mobilefacenet", str(output)))
    assert_golden(load_checkpoint(output)(made_up_images()), "mobilefacenet")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{output}: mobilefacenet with ")
    assert line.endswith("embeddings of length 64")


def without(state):
    del state["conv_sep.layers.0.weight"]


def with_more(state):
    state["features.layers.9.weight"] = np.zeros(3, np.float32)


def misshapen(state):
    state["conv_sep.layers.0.weight"] = np.zeros([512, 128, 1, 1], np.float32)


def misshapen_norm(state):
    state["conv_sep.layers.1.weight"] = np.zeros(511, np.float32)


def misshapen_dense(state):
    state["features.layers.2.weight"] = np.zeros([64, 500], np.float32)


@pytest.mark.parametrize(
    "change, message",
    [
        (without, "does not hold a mobilefacenet: it lacks conv_sep.layers.0.weight;"),
        (with_more, "does not hold a mobilefacenet: it has features.layers.9.weight too;"),
        (misshapen, r"conv_sep.layers.0.weight is of shape \(512, 128, 1, 1\), .* \(1, 1, 256, 512\)"),
        (misshapen_norm, r"conv_sep.layers.1.weight is of shape \(511,\), which does not give \(512,\)"),
        (misshapen_dense, r"features.layers.2.weight is of shape \(64, 500\), which does not give \(512, 64\)"),
    ],
)
def test_every_tensor_is_accounted_for(change, message, tmp_path):
    state = made_up_state("mobilefacenet")
    change(state)
    write_pth(tmp_path / "backbone.pth", state)
    with pytest.raises(InputError, match=message):
        convert_insightface(tmp_path / "backbone.pth", "mobilefacenet")


def test_weights_of_another_network(tmp_path):
    write_pth(tmp_path / "backbone.pth", made_up_state("mobilefacenet"))
    with pytest.raises(
        InputError, match=r"does not hold a iresnet18: it lacks bn1.bias, .* and 1.. more; name the backbone"
    ):
        convert_insightface(tmp_path / "backbone.pth", "iresnet18")


def test_a_last_scale_that_is_not_one(tmp_path):
    state = made_up_state("iresnet18")
    state["features.weight"][3] = 1.5
    write_pth(tmp_path / "backbone.pth", state)
    with pytest.raises(InputError, match=r"features.weight is not all 1, as it is in InsightFace's networks"):
        convert_insightface(tmp_path / "backbone.pth", "iresnet18")


@pytest.mark.parametrize(
    "settings, message",
    [
        (WeightsSettings(), "--input is missing"),
        (WeightsSettings(input="backbone.pth"), "--output is missing"),
        (WeightsSettings(input="backbone.pth", output="out.h5"), "ends in .keras, got out.h5"),
        (WeightsSettings(input="missing.pth", output="out.keras"), "no PyTorch checkpoint at missing.pth"),
        (
            WeightsSettings("missing.pth", "plain_small", "out.keras"),
            "no InsightFace network 'plain_small': use one of",
        ),
    ],
)
def test_bad_settings(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        weights(settings)
    assert not list(tmp_path.iterdir())
