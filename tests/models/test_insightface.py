import functools
import json
from pathlib import Path

import numpy as np
import pytest
from insightface_state import made_up_images, made_up_tensor, write_pth

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import load_embedding_model
from ddl_tf.models import convert_insightface, insightface, load_checkpoint
from ddl_tf.prepare import WeightsSettings, weights

# Made with InsightFace's PyTorch networks by tests/golden/make_backbone_golden.py.
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "backbone_golden.npz")


def made_up_state(backbone):
    shapes = json.loads(GOLDEN[f"{backbone}/shapes"].tobytes())
    return {name: made_up_tensor(name, shape) for name, shape in shapes.items()}


def assert_golden(embeddings, backbone):
    expected = GOLDEN[f"{backbone}/embeddings"]
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=1e-4 * expected.std())


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """Each network is built once for all files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(insightface, "build_embedding_model", functools.cache(insightface.build_embedding_model))
        yield


DEEP = [pytest.param(name, marks=pytest.mark.heavy) for name in ("iresnet34", "iresnet50", "iresnet100")]


@pytest.mark.parametrize("backbone", ["iresnet18", *DEEP])
def test_embeddings_are_those_of_the_pytorch_network(backbone, tmp_path):
    write_pth(tmp_path / "backbone.pth", made_up_state(backbone))
    assert_golden(convert_insightface(tmp_path / "backbone.pth", backbone)(made_up_images()), backbone)


def test_the_command_writes_a_checkpoint(tmp_path, capsys):
    write_pth(tmp_path / "backbone.pth", made_up_state("mobilefacenet"))
    output = tmp_path / "new" / "start.keras"
    weights(WeightsSettings(str(tmp_path / "backbone.pth"), "mobilefacenet", str(output)))
    assert_golden(load_checkpoint(output)(made_up_images()), "mobilefacenet")
    evaluated = load_embedding_model(str(tmp_path / "backbone.pth"), "mobilefacenet")
    assert_golden(evaluated(made_up_images()), "mobilefacenet")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{output}: mobilefacenet with ")
    assert line.endswith("embeddings of length 64")


MOBILE, FIRST = "mobilefacenet", "conv_sep.layers.0.weight"
CHANGES = [
    (MOBILE, MOBILE, FIRST, None, f"does not hold a mobilefacenet: it lacks {FIRST};"),
    (MOBILE, MOBILE, "features.layers.9.weight", (3,), "it has features.layers.9.weight too;"),
    (MOBILE, MOBILE, FIRST, (512, 128, 1, 1), r"is of shape \(512, 128, 1, 1\), .* \(1, 1, 256, 512\)"),
    (MOBILE, MOBILE, "conv_sep.layers.1.weight", (511,), r"is of shape \(511,\), which does not give \(512,\)"),
    (MOBILE, MOBILE, "features.layers.2.weight", (64, 500), r"\(64, 500\), which does not give \(512, 64\)"),
    (MOBILE, "iresnet18", FIRST, None, "hold a iresnet18: it lacks bn1.bias, .* and 1.. more; name the backbone"),
    # Of zeros.
    ("iresnet18", "iresnet18", "features.weight", (64,), "features.weight is not all 1, as it is in InsightFace's"),
]


@pytest.mark.parametrize("source, backbone, name, shape, message", CHANGES)
def test_every_tensor_is_accounted_for(source, backbone, name, shape, message, tmp_path):
    state = made_up_state(source)
    state.pop(name, None)
    if shape is not None:
        state[name] = np.zeros(shape, np.float32)
    write_pth(tmp_path / "backbone.pth", state)
    with pytest.raises(InputError, match=message):
        convert_insightface(tmp_path / "backbone.pth", backbone)


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
