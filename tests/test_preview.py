import numpy as np
import pytest
from PIL import Image

from ddl_tf import preview
from ddl_tf.common.errors import InputError
from ddl_tf.data import Faces, SyntheticSettings, prepare_synthetic
from ddl_tf.preview import PreviewSettings, main, preview_figure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces")
    counts = {"identities": 3, "images_per_identity": 4, "test_identities": 0, "image_size": 24}
    prepare_synthetic(SyntheticSettings(output=str(path), overwrite=True, **counts))
    return str(path / "train")


def test_the_sheet(folder, tmp_path, monkeypatch):
    # Of six strengths and all kinds: every one is traced anew.
    kinds = ("augment_grey", "augment_blur", "augment_resolution")
    monkeypatch.setattr(preview, "STRENGTHS", (0.3, 1.0))
    monkeypatch.setattr(preview, "strength_names", lambda: kinds)
    grey = {"augment_grey": 1.0, "augment_probability": 1.0, "augment_groups": [1]}
    settings = PreviewSettings(train_data=[folder], image_size=16, rows=3, **grey)
    figure = preview_figure(Faces([folder]), settings)
    lines = {}
    for axes in figure.axes:
        if axes.images:
            lines.setdefault(axes.get_subplotspec().rowspan.start, []).append(axes)
    labels = [line[0].get_ylabel() for line in lines.values()]
    assert labels[3:] == [f"--{name}" for name in kinds]
    assert [label.splitlines()[1] for label in labels[:3]] == ["group 0", "group 1", "group 0"]
    assert [axes.get_title() for axes in list(lines.values())[3]] == ["stored", "0.3", "1"]
    assert any("--augment_grey=1 --augment_probability=1" in text.get_text() for text in figure.texts)

    def pixels(axes):
        return axes.images[0].get_array().astype(float)

    for line, label in zip(lines.values(), labels):
        stored, *drawn = map(pixels, line)
        assert len(drawn) == 2
        assert stored.shape == (16, 16, 3)
        if label.startswith("image"):
            colour = np.array([np.ptp(image, axis=-1).mean() for image in drawn])
            kept = np.isclose(colour, np.ptp(stored, axis=-1).mean(), atol=0.6)
            assert np.all(kept == ("group 0" in label))
        else:
            assert np.abs(drawn[1] - stored).mean() > 0

    # Another seed shows other images.
    faces = Faces([folder])
    chosen = [preview._choose(faces, 4, seed) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 4
    # To draw it again would take as long again.
    shown = []
    monkeypatch.setattr(preview, "preview_figure", lambda faces, settings: shown.append(len(faces)) or figure)
    output = tmp_path / "sheets" / "faces.png"
    main(PreviewSettings(**{**vars(settings), "output": str(output)}))
    assert shown == [12]
    with Image.open(output) as sheet:
        assert min(sheet.size) > 300


def test_bad_values_are_named():
    for changes, message in (
        ({"rows": 0}, "--rows must be at least 1, got 0"),
        ({"image_size": 0}, "--image_size must be at least 1"),
        ({"seed": -1}, "--seed must be from 0"),
        ({"output": "sheet.txt"}, "sheet.txt"),
        ({"augment_blur": 2.0}, "--augment_blur must be from 0 to 1, got 2.0"),
    ):
        with pytest.raises(InputError, match=message):
            PreviewSettings(train_data=["x"], **changes)
    with pytest.raises(InputError, match=r"^no set: name stored sets with --train_data"):
        main(PreviewSettings(augment_blur=0.5))
