import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_sets import stored_faces

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.images.pillow_images import encode_jpeg, encode_png
from ddl_tf.importers.source import Sample
from ddl_tf.mining.cleaning import FAULTS, CleanRules, fault_rows, faults_table, find_faults, same_person_table
from ddl_tf.mining.image_scan import scan_faces

PEOPLE, IMAGES, DIM = 12, 5, 32


class World:
    """A set of pictures that are known, with embeddings that are known, and what is done to them."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.centers = rng.normal(size=[PEOPLE, DIM])
        self.pictures, self.names, self.vectors = [], [], []
        for person in range(PEOPLE):
            for _ in range(IMAGES):
                coarse = rng.integers(0, 256, [5, 5, 3]).astype(np.uint8)
                picture = Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC)
                self.add(encode_png(picture), f"person {person}", self.centers[person] + 0.4 * rng.normal(size=DIM))

    def add(self, image, name, vector):
        self.pictures.append(image)
        self.names.append(name)
        self.vectors.append(vector)
        return len(self.names) - 1

    def picture(self, row):
        return Image.open(io.BytesIO(self.pictures[row])).convert("RGB")

    def clean(self, folder, with_model=True, face_score=None, misfit_px=None):
        items = [Sample(image, name, name) for image, name in zip(self.pictures, self.names)]
        faces = stored_faces(items, folder / "set")
        scan = scan_faces(faces, folder / "parts", None)
        if face_score is not None:
            scan["face_score"], scan["misfit_px"] = face_score, misfit_px
        np.save(folder / "vectors.npy", np.array(self.vectors, np.float32))
        return faces, find_faults(faces, scan, CleanRules(), Embeddings(folder / "vectors.npy") if with_model else None)


@pytest.fixture
def world():
    return World()


def faults(found):
    return {row: fault for row, fault in found.columns["fault"].items() if fault}


def test_nothing_is_wrong_with_a_clean_set(world, tmp_path):
    _, found = world.clean(tmp_path)
    assert faults(found) == {}
    assert found.skipped == []
    assert (found.columns["merge_with"] == "").all()
    assert (found.columns["copy_of"] == -1).all()
    assert "face_score" not in found.columns


def test_copies_of_one_person_with_and_without_a_model(world, tmp_path):
    same = world.add(world.pictures[2], "person 0", world.vectors[2])
    small = world.add(encode_jpeg(world.picture(7).resize((20, 20)), 90), "person 1", world.vectors[7])
    large = world.add(encode_png(world.picture(12).resize((80, 80))), "person 2", world.vectors[12])
    for folder, with_model in (("a", False), ("b", True)):
        (tmp_path / folder).mkdir()
        _, found = world.clean(tmp_path / folder, with_model)
        # The larger picture stays.
        assert faults(found) == {same: "duplicate", small: "near_duplicate", 12: "near_duplicate"}
        assert found.columns["copy_of"][[same, small, 12]].tolist() == [2, 7, large]
        assert found.columns["copy_similarity"][same] == 1


def test_a_picture_of_two_people_is_a_fault_of_the_wrong_one_if_a_model_knows(world, tmp_path):
    copy = world.add(world.pictures[2], "person 7", world.vectors[2])
    (tmp_path / "a").mkdir()
    _, found = world.clean(tmp_path / "a", with_model=False)
    assert faults(found) == {2: "two_labels", copy: "two_labels"}
    _, found = world.clean(tmp_path)
    assert faults(found) == {copy: "two_labels"}
    # Which of the files is the first does not matter: here the image is not of the person that it stays with.
    world.names[2], world.names[copy] = world.names[copy], world.names[2]
    (tmp_path / "b").mkdir()
    _, found = world.clean(tmp_path / "b")
    assert faults(found) == {2: "two_labels"}


def test_of_a_picture_that_is_of_neither_both_are_faults(world, tmp_path):
    stranger = np.random.default_rng(1).normal(size=DIM)
    world.vectors[2] = stranger
    copy = world.add(world.pictures[2], "person 7", stranger)
    _, found = world.clean(tmp_path)
    assert faults(found) == {2: "two_labels", copy: "two_labels"}


def test_wrong_labels_and_outliers_say_whom_they_are_near_to(world, tmp_path):
    world.vectors[3] = world.centers[8]
    world.vectors[11] = np.random.default_rng(2).normal(size=DIM)
    _, found = world.clean(tmp_path)
    assert faults(found) == {3: "wrong_identity", 11: "outlier"}
    row = found.columns.loc[3]
    assert row["nearest_identity"] == "person 8"
    assert row["other_similarity"] > 0.8 > 0.3 > row["own_similarity"]


def test_the_halves_of_a_person_are_merged_and_share_their_copies(world, tmp_path):
    for row in (23, 24):
        world.names[row] = "half"
    copy = world.add(world.pictures[22], "half", world.vectors[22])
    faces, found = world.clean(tmp_path)
    # A picture that both halves have is a copy, not a wrong label.
    assert faults(found) == {copy: "duplicate"}
    # Of identities of a size the first gives the name.
    merged = ["person 4" if name == "half" else "" for name in world.names]
    assert found.columns["merge_with"].tolist() == merged
    table = same_person_table(faces, found.labels)
    assert {*table["first"], *table["second"]} == {"person 4", "half"}
    assert sorted([table["first_images"][0], table["second_images"][0]]) == [3, 3]


def test_faces_that_are_not_found_are_faults_unless_the_model_knows_them(world, tmp_path):
    score, misfit = np.full(60, 0.9, np.float32), np.full(60, 2.0, np.float32)
    score[[4, 9, 14]], misfit[[4, 9, 14]] = 0, np.nan
    misfit[[19, 24]] = 15, 14.9
    world.vectors[4] = np.random.default_rng(3).normal(size=DIM)
    (tmp_path / "a").mkdir()
    _, found = world.clean(tmp_path / "a", with_model=False, face_score=score, misfit_px=misfit)
    assert faults(found) == {4: "no_face", 9: "no_face", 14: "no_face", 19: "poor_fit"}
    np.testing.assert_array_equal(found.columns["misfit_px"], misfit)
    _, found = world.clean(tmp_path, face_score=score, misfit_px=misfit)
    assert faults(found) == {4: "no_face", 19: "poor_fit"}


def test_in_a_set_that_is_not_aligned_no_face_is_a_poor_fit(world, tmp_path):
    misfit = np.full(60, 20.0, np.float32)
    _, found = world.clean(tmp_path, False, np.full(60, 0.9, np.float32), misfit)
    assert faults(found) == {}
    assert found.skipped == ["poor_fit: half of the faces are 20.0 px or more from where alignment brings them"]


def test_an_image_has_the_first_of_its_faults_and_the_tables_count_them(world, tmp_path):
    copy = world.add(world.pictures[2], "person 0", world.vectors[2])
    score, misfit = np.full(61, 0.9, np.float32), np.full(61, 2.0, np.float32)
    misfit[[copy, 30]] = 30
    faces, found = world.clean(tmp_path, True, score, misfit)
    assert faults(found) == {copy: "duplicate", 30: "poor_fit"}
    table = faults_table(found.columns["fault"].to_numpy()).set_index("fault")
    assert table["images"].to_dict() == {**dict.fromkeys(FAULTS, 0), "duplicate": 1, "poor_fit": 1, "": 59}
    assert table["share"]["duplicate"] == "1.64%"
    rows = fault_rows(faces, found.columns)
    assert rows["row"].tolist() == [copy, 30]
    assert rows["identity"].tolist() == ["person 0", "person 6"]
    assert list(rows)[2:] == list(found.columns)
    assert isinstance(rows, pd.DataFrame)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"near_duplicate": 1.0}, "near duplicates correlate by 0.5 to below 1, got 1.0"),
        ({"near_duplicate": 0.4}, "got 0.4"),
        ({"poor_fit_px": 0}, "must be above 0 pixels, got 0"),
        ({"poor_fit_px": float("nan")}, "got nan"),
    ],
)
def test_bad_rules_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        CleanRules(**bad)
