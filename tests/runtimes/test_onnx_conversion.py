import numpy as np
import pytest
from onnx_builder import Network, end

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.models import convert_onnx, load_checkpoint
from ddl_tf.prepare import WeightsSettings, weights
from ddl_tf.runtimes import onnx_conversion


@pytest.fixture
def network_file(tmp_path):
    network = Network()
    return network.write(tmp_path / "net.onnx", end(network, network.conv("image", 3, 4), 4, 7))


def test_the_command_writes_a_checkpoint_with_the_same_embeddings(network_file, tmp_path, capsys):
    output = tmp_path / "start.keras"
    weights(
        WeightsSettings(str(network_file), output=str(output), input_mean=100.0, input_scale=50.0, input_order="bgr")
    )
    printed = capsys.readouterr()
    assert printed.err == f"{network_file}: input (value - 100) / 50, BGR (as given)\n"
    assert "an ONNX network" in printed.out
    assert "embeddings of length 5" in printed.out
    images = np.random.default_rng(3).integers(0, 256, (2, 9, 9, 3)).astype(np.float32)
    runtime = load_embedding_model(str(network_file), mean=100.0, scale=50.0, order="bgr")
    np.testing.assert_allclose(load_checkpoint(output)(images), runtime(images), rtol=1e-4)


def test_another_network_than_the_file_s_is_refused(network_file, monkeypatch):
    def converted(path, mean, scale, order):
        model = convert_onnx(path, mean, scale, order)
        model.get_layer("backbone").layers[-1].bias.assign_add(1e3 * np.arange(5.0))
        return model

    monkeypatch.setattr(onnx_conversion, "convert_onnx", converted)
    with pytest.raises(InputError, match=r"net.onnx: the embeddings of the converted network differ by .* from those"):
        onnx_conversion.convert_and_compare(str(network_file))


@pytest.mark.parametrize(
    "settings, message",
    [
        (WeightsSettings("net.onnx", "mobilefacenet", "out.keras"), "--backbone=mobilefacenet would be ignored"),
        (WeightsSettings("net.pth", "mobilefacenet", "out.keras", input_mean=0.0), "--input_mean=0.0 would be ignored"),
    ],
)
def test_flags_of_the_other_kind_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        weights(settings)
