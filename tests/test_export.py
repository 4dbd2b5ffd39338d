import re
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.export import ExportSettings, main
from ddl_tf.serving import choose_threshold, read_description


def test_prints_the_path_the_signatures_and_the_command(checkpoint, evaluation, tmp_path, capsys):
    """With an evaluation for the card alone."""
    main(ExportSettings(model=checkpoint, name="faces", output=str(tmp_path), evaluation=evaluation))
    path, *signatures, size, card, files, command = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "faces" / "1")
    assert [line.split(":")[0] for line in signatures] == ["search", "serving_bytes", "serving_default"]
    assert re.fullmatch(r"\d+\.\d MB, [\d,]+ operations; 6 batch norms folded, 0 kept", size)
    assert card == f"model card: {path}/assets.extra/model_card.md"
    text = Path(card.split()[-1]).read_text()
    assert text.startswith("# Model card: faces, version 1\n")
    assert "| lfw | 600 | 90.00 % |" in text
    assert read_description(path)["threshold"] is None
    names = ("models.config", "batching_parameters.txt", "monitoring.config")
    assert files.split()[3:] == [str(tmp_path / name) for name in names]
    assert 'base_path: "/models/faces"' in (tmp_path / "models.config").read_text()
    assert command == f"saved_model_cli show --dir {path} --all"


@pytest.fixture(scope="module")
def evaluation(checkpoint, tmp_path_factory):
    random, same = np.random.RandomState(0), np.arange(600) % 2 == 0
    scores = {"similarity": random.normal(0.1, 0.1, 600) + 0.5 * same, "same": same}
    result = {"set": "lfw", "protocol": "pairs", "pairs": 600, "same": 300, "accuracy": 0.9}
    provenance = {"model": checkpoint, "sha256": fingerprint(Path(checkpoint)), "flip": True}
    folder = tmp_path_factory.mktemp("evaluation")
    write_outcome(folder / "lfw", Outcome(result, scores), provenance)
    write_outcome(folder / "rfw", Outcome({"set": "rfw", "protocol": "rfw", "mean": 0.9}, {}), {"flip": True})
    return str(folder)


def test_a_threshold_of_an_evaluation(checkpoint, evaluation, tmp_path, capsys):
    chosen = {"evaluation": evaluation, "threshold_set": "lfw", "far": 0.05}
    settings = ExportSettings(model=checkpoint, name="faces", output=str(tmp_path), flip=True, search=False, **chosen)
    main(settings)
    path, *lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["serving_bytes", "serving_default", "verify"]
    description = read_description(path)
    value = choose_threshold(evaluation, "lfw", 0.05).value
    assert description["threshold"]["value"] == value
    assert (description["flip"], description["checkpoint"]) == (True, checkpoint)
    assert f"same from a similarity of {value:.4f} on, where lfw has a false accept rate of 0.05 (asked" in lines[4]
    assert "5.00 % of 300 different pairs" in (Path(path) / "assets.extra" / "model_card.md").read_text()
    assert (Path(path) / "batching_params.pbtxt").is_file()


CHOSEN = {"evaluation": "given", "threshold_set": "lfw", "far": 0.05}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"far": 0.1}, r"--far=0.1: a threshold takes --evaluation, --threshold_set and --far"),
        ({"evaluation": "given", "threshold_set": "lfw"}, r"--threshold_set=lfw: a threshold takes"),
        (CHOSEN, "evaluated with --flip, the export is with --noflip"),
        ({**CHOSEN, "far": 1e-3, "flip": True}, "too few"),
        ({"evaluation": "given", "model": "another"}, "lfw was evaluated with .*, not with "),
        ({"evaluation": "nowhere"}, "nowhere: no stored evaluation"),
        ({"model": ""}, "--model is missing"),
        ({"name": ""}, "--name is missing"),
        ({"name": "a/b"}, "model name 'a/b'"),
        ({"model": "nowhere"}, "no model at nowhere"),
    ],
)
def test_bad_settings(checkpoint, evaluation, tmp_path, settings, message):
    another = tmp_path / "another.keras"
    another.write_bytes(b"another network")
    paths = {"given": evaluation, "another": str(another)}
    settings = {key: paths.get(value, value) for key, value in settings.items()}
    output = tmp_path / "models"
    with pytest.raises(InputError, match=message):
        main(ExportSettings(**{"model": checkpoint, "name": "faces", "output": str(output), **settings}))
    assert not output.exists()
