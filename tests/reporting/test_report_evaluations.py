import dataclasses

import numpy as np
import pytest
from generated_evaluations import write_pairs, write_ranks

from ddl_tf.common.errors import InputError
from ddl_tf.reporting.evaluations import check_comparable, missing_sets, named_folders, read_evaluation, set_names


def test_names_of_folders(tmp_path):
    (tmp_path / "lr=0.1").mkdir()
    odd = str(tmp_path / "lr=0.1")
    named = named_folders(["A=one/two", "three/four", odd], "evaluations")
    assert named == {"A": "one/two", "four": "three/four", "lr=0.1": odd}
    for items, message in ((["A=x", "A=y"], "two are named 'A', x and y"), (["=x"], "--runs==x")):
        with pytest.raises(InputError, match=message):
            named_folders(items, "runs")


def test_without_the_column_the_same_pairs_tell_the_people(tmp_path):
    write_pairs(tmp_path / "a", "lfw", 0.5, columns=False)
    evaluated = read_evaluation("A", str(tmp_path / "a")).sets["lfw"]
    first, second = evaluated.people
    # Images are in several pairs; no two people are taken for one.
    person = np.repeat(np.arange(12), 4)
    shown = np.concatenate([person[evaluated.scores["first"]], person[evaluated.scores["second"]]])
    linked = np.concatenate([first, second])
    assert all(len(set(shown[linked == number])) == 1 for number in set(linked))
    assert np.array_equal(first == second, evaluated.scores["same"])
    # As far as is known, nobody is in two pairs.
    evaluated.scores.update(first=np.arange(0, 480, 2), second=np.arange(1, 480, 2))
    assert evaluated.people == (None, None)
    assert "people" not in evaluated.scores


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    write_pairs(folder, "lfw", 0.5)
    write_ranks(folder, "scface", seed=1)
    model = read_evaluation("A", str(folder))
    model.sets["lfw"].scores["template"] = np.arange(49)
    return model


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("lfw", lambda scores: {key: value[:-2] for key, value in scores.items()}, "they have 240 and 238 pairs"),
        ("lfw", lambda scores: {"same": ~scores["same"]}, "240 pairs or probes differ in 'same'"),
        ("lfw", lambda scores: {"template": np.arange(50)}, "they have 49 and 50 'template'"),
        ("scface", lambda scores: {"condition": np.full(60, "d1")}, "40 pairs or probes differ in 'condition'"),
        ("lfw", lambda images: images.replace("0/1.jpg", "0/other.jpg"), "their images differ"),
        ("lfw", lambda images: images.iloc[:-1], "they have 48 and 47 images"),
    ],
)
def test_other_pairs_probes_or_images_are_refused(model, name, change, message):
    evaluated = model.sets[name]
    if "images" in message:
        changed = dataclasses.replace(evaluated, images=change(evaluated.images))
    else:
        changed = dataclasses.replace(evaluated, scores={**evaluated.scores, **change(evaluated.scores)})
    check_comparable([model, dataclasses.replace(model, name="B")])
    with pytest.raises(InputError, match=f"set {name}: A and B were not evaluated on the same, {message}"):
        check_comparable([model, dataclasses.replace(model, name="B", sets={name: changed})])


def test_missing_sets_are_named_and_scores_and_embeddings_that_do_not_fit_refused(tmp_path):
    for model, name in (("A", "lfw"), ("B", "lfw"), ("B", "agedb")):
        write_pairs(tmp_path / model, name, 0.5)
    models = [read_evaluation(name, str(tmp_path / name)) for name in "AB"]
    assert set_names(models) == ["lfw", "agedb"]
    assert missing_sets(models) == ["A was not evaluated on agedb; a dash stands in its place."]
    np.savez(tmp_path / "A" / "lfw" / "scores.npz", similarity=np.zeros(3), same=np.zeros(4, bool))
    np.save(tmp_path / "B" / "lfw" / "embeddings.npy", np.zeros([5, 1, 3], np.float32))
    unfit = r"A/lfw: the scores of pairs do not fit \(3 similarity, 4 same\)"
    for name, message in (("A", unfit), ("B", "5 embeddings of 48 images")):
        with pytest.raises(InputError, match=message):
            read_evaluation(name, str(tmp_path / name))
