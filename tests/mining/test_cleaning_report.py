import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_sets import samples, store

from ddl_tf.data.store import Faces
from ddl_tf.mining.cleaning import Cleaning
from ddl_tf.mining.cleaning_report import Example, evidence_sheet, fault_examples, write_cleaning
from ddl_tf.mining.labels import Labels


@pytest.fixture
def faces(tmp_path):
    """Four people with three images each."""
    store(samples(12), tmp_path / "set")
    return Faces([str(tmp_path / "set")])


@pytest.fixture
def found():
    """Image 4 is a copy of 3, image 5 is of person 2, image 7 an outlier; the people 0 and 3 are one."""
    own = np.array([0.9, 0.8, 0.7] * 4, np.float32)
    columns = pd.DataFrame({"fault": [""] * 12, "copy_of": -1, "copy_similarity": np.nan, "own_similarity": own})
    columns = columns.assign(other_similarity=0.5, misfit_px=1.0)
    columns.loc[[4, 5, 7, 8], "fault"] = ["near_duplicate", "wrong_identity", "outlier", "poor_fit"]
    columns.loc[4, ["copy_of", "copy_similarity"]] = 3, 0.99
    labels = Labels(
        own_similarity=own,
        other_similarity=np.full(12, 0.5, np.float32),
        nearest_identity=np.full(12, 2),
        wrong=np.zeros(12, bool),
        outlier=np.zeros(12, bool),
        person=np.array([0, 1, 2, 0]),
        same=pd.DataFrame({"first": [0], "second": [3], "similarity": [0.87]}),
        limits={"outlier": 0.1, "other": 0.6, "same": 0.8},
    )
    return Cleaning(columns, labels, [])


def test_each_image_is_beside_what_it_is_judged_by(faces, found):
    def parts(fault):
        (example,) = fault_examples(faces, found.columns, found.labels, fault, 5, 0)
        return [list(part) for part in example.parts], example.text

    assert parts("near_duplicate") == ([[4], [3]], "row 4: person 1; row 3: person 1; 0.990")
    # Its own identity's others, the nearest to one another first, then those of the nearest identity.
    assert parts("wrong_identity") == ([[5], [3, 4], [6, 7, 8]], "row 5: own 0.70, other 0.50")
    assert parts("outlier") == ([[7], [6, 8]], "row 7: own 0.80")
    assert parts("poor_fit") == ([[8]], "row 8: 1 px")
    assert fault_examples(faces, found.columns, found.labels, "no_face", 5, 0) == []


def test_the_original_of_a_disputed_picture_is_beside_its_copy(faces, found):
    found.columns.loc[[3, 4], "fault"] = "two_labels"
    examples = fault_examples(faces, found.columns, None, "two_labels", 5, 0)
    assert [[list(part) for part in example.parts] for example in examples] == [[[3], [4]], [[4], [3]]]


def test_a_sheet_shows_the_images_at_their_places(faces):
    examples = [Example("first", [[0], [1, 2]]), Example("second", [[3]])]
    figure = evidence_sheet(faces, examples, "title")
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    expected = np.asarray(Image.fromarray(faces.image(2)).resize((96, 96), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(canvas[:96, 96 + 10 + 96 : 96 + 10 + 192], expected)
    # The second example is beside the first, whose width it has.
    width = 3 * 96 + 3 * 10
    expected = np.asarray(Image.fromarray(faces.image(3)).resize((96, 96), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(canvas[:96, width : width + 96], expected)
    assert [text.get_text() for text in figure.axes[0].texts] == ["first", "second"]


def test_tables_and_sheets_of_what_was_found_and_none_of_what_was_not(faces, found, tmp_path, capsys):
    folder = tmp_path / "clean"
    folder.mkdir()
    (folder / "no_face.jpg").write_bytes(b"of an earlier cleaning")
    (folder / "notes.txt").write_text("the user's own")
    write_cleaning(faces, found, folder, 5, 0)
    names = {file.name for file in folder.iterdir()}
    sheets = {f"{kind}.jpg" for kind in ("near_duplicate", "wrong_identity", "outlier", "poor_fit", "same_person")}
    assert names == {"faults.csv", "same_person.csv", "notes.txt", *sheets}
    for sheet in sheets:
        assert min(Image.open(folder / sheet).size) > 100
    assert pd.read_csv(folder / "faults.csv")["row"].tolist() == [4, 8, 5, 7]
    assert pd.read_csv(folder / "same_person.csv")["second"].tolist() == ["person 3"]
    out = capsys.readouterr().out
    assert "| near_duplicate | 1 | 8.33% |" in out
    assert "identities that are one person: 1 pairs, 1 people" in out
    assert "an outlier has an own similarity below 0.100" in out
