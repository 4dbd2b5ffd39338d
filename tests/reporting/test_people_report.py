import dataclasses

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from tiny_sets import picture, samples, store

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.people import PeopleProtocol, evaluate_people, make_benchmark
from ddl_tf.evaluation.stored import write_outcome
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.metrics.ranks import tpir_at_fpir
from ddl_tf.protocols.people_set import folder_people, stored_people
from ddl_tf.report import ReportSettings, main
from ddl_tf.reporting import people
from ddl_tf.reporting.changes import changes
from ddl_tf.reporting.evaluations import read_evaluation
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.numbers import lower_is_better, numbers_of, title_of
from ddl_tf.reporting.pair_pictures import image_reader, pairs_figure, worst_pairs
from ddl_tf.reporting.palette import styles_of

PEOPLE, EACH = 6, 4
STYLES = styles_of(["a", "b"])


def evaluate(faces, folder, noise, **protocol):
    random = np.random.default_rng(0)
    codes = np.unique(faces.people, return_inverse=True)[1]
    rows = random.normal(size=[PEOPLE, 8])[codes] + noise * random.normal(size=[len(codes), 8])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    columns = pd.DataFrame({"hair": np.where(codes % 2, "long", "short"), "yaw": np.arange(len(codes))})
    faces = dataclasses.replace(faces, columns=columns)
    benchmark = make_benchmark(faces, PeopleProtocol(fmr=[0.1, 1e-5], fpir=[0.2], by=["hair", "yaw"], **protocol))
    (folder / faces.name).mkdir(parents=True)
    faces.table().assign(key=faces.keys).to_csv(folder / faces.name / "images.csv", index=False)
    write_outcome(folder / faces.name, evaluate_people(benchmark, rows, 40), {"model": str(folder)})


@pytest.fixture
def stored(tmp_path):
    """Two models on a folder of faces, and one of them on a stored set too."""
    for person in range(PEOPLE):
        for number in range(EACH):
            file = tmp_path / "faces" / f"p{person}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(EACH * person + number))
    faces = folder_people(str(tmp_path / "faces"))
    evaluate(faces, tmp_path / "a", 1.0)
    evaluate(faces, tmp_path / "b", 0.4)
    store(samples(PEOPLE * EACH, EACH), tmp_path / "set")
    evaluate(stored_people([str(tmp_path / "set")]), tmp_path / "b", 0.4, splits=0)
    return tmp_path


def read(stored):
    return [read_evaluation(name, str(stored / name)) for name in ("a", "b")]


def test_the_section_says_thresholds_and_draws_search_and_groups(stored):
    models = read(stored)
    section = people.people(models, STYLES, 40, 0)
    threshold = models[0].sets["faces"].result["verification"]["threshold"]["1e-1"]
    assert section.sentences[0].startswith(f"a on faces: At a threshold of {threshold:.3f}, one in 10 comparisons of ")
    assert any(text.startswith("b on set: FMR 1e-5 is not measured") for text in section.sentences)
    names = [part.name for part in section.parts]
    groups = [
        f"groups-{name}-{column}{table}"
        for name in ("faces", "set")
        for column in ("hair", "yaw")
        for table in ("", "-table")
    ]
    assert names == ["strangers-faces", *groups[:4], *groups[4:]]
    search, hair, table = section.parts[:3]
    # A curve with a band for each model, and its measured rate.
    curves = [line for line in search.figure.axes[0].lines if line.get_label() in "ab"]
    assert len(curves) == len(search.figure.axes[0].collections) == 2
    fnir = models[0].sets["faces"].result["open_set"]["fnir"]["2e-1"]
    assert np.interp(0.2, *curves[0].get_data()) == pytest.approx(fnir, abs=0.02)
    assert "a: FNIR " in search.alternative
    assert [axes.get_ylabel() for axes in hair.figure.axes] == [
        "FNMR: pairs of one person that fail",
        "FMR: pairs of two people that pass",
    ]
    assert table.header == ["hair", "people", "same pairs", "different", "a, FNMR", "a, FMR", "b, FNMR", "b, FMR"]
    assert [row[0] for row in table.rows] == ["long", "short", "two groups"]
    values = models[1].sets["faces"].result["groups"]["hair"]["long"]
    assert table.rows[0][1] == "3"
    assert table.rows[0][6].startswith(f"{100 * values['fnmr']['1e-1']:.3g}% [")
    # Of other protocols there is nothing to say.
    assert not people.people([], STYLES, 40, 0).parts


def test_the_band_of_a_search_is_over_people(stored):
    evaluated = read(stored)[0].sets["faces"]
    scores, band = evaluated.scores, people.search_band(evaluated, 60, seed=4)
    # Naively: people are drawn, and the searches with them; each replicate has its own threshold.
    person, stranger = scores["person"], scores["stranger_person"]
    names = np.unique(np.concatenate([person, stranger]))
    place = len(band.far) - 5

    def tpir(mated, strangers):
        rate, _ = tpir_at_fpir(
            scores["rank"][mated],
            scores["mate_similarity"][mated],
            scores["stranger_similarity"][strangers],
            [band.far[place]],
        )
        return rate[0]

    assert band.tar[place] == tpir(np.arange(len(person)), np.arange(len(stranger)))
    random, values = np.random.default_rng(4), []
    while len(values) < 60:
        times = dict(zip(names, np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))))
        rows = [np.repeat(np.arange(len(of)), [times[name] for name in of]) for of in (person, stranger)]
        if all(map(len, rows)):
            values.append(tpir(*rows))
    assert [band.low[place], band.high[place]] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_the_worst_pairs_are_one_of_each_two_people(stored):
    scores = read(stored)[0].sets["faces"].scores
    same, different = worst_pairs(scores, 4)
    whose = [scores["people"][scores[side]] for side in ("first", "second")]
    best = {}
    for pair, similarity in enumerate(scores["similarity"]):
        key = frozenset((whose[0][pair], whose[1][pair]))
        sign = 1 if len(key) == 1 else -1
        best[key] = min(best.get(key, (np.inf, -1)), (sign * similarity, pair))
    for chosen, size in ((same, 1), (different, 2)):
        expected = [pair for _, pair in sorted(value for key, value in best.items() if len(key) == size)]
        assert chosen.tolist() == expected[:4]
    assert len(worst_pairs(scores, 100)[0]) == PEOPLE


def tiles(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_pictures_are_those_of_the_pairs(stored):
    for name in ("faces", "set"):
        evaluated = read(stored)[1].sets[name]
        reader = image_reader(evaluated.result["source"], evaluated.images)
        scores = evaluated.scores
        same, different = worst_pairs(scores, 3)
        figure, missing = pairs_figure(reader, [("above", different), ("below", same)], scores)
        assert not missing
        pairs = np.concatenate([different, same])
        places = np.stack([scores["first"][pairs], scores["second"][pairs]], axis=1).ravel()
        for tile, place in zip(tiles(figure), places, strict=True):
            np.testing.assert_array_equal(tile, decode_image(picture(place)))
        texts = [text.get_text() for text in figure.texts]
        assert texts[0] == "above"
        assert f"{scores['similarity'][different[0]]:.3f}" in texts


def test_images_that_are_gone(stored):
    models = read(stored)
    section = people.worst(models, 2)
    assert [part.name for part in section.parts] == [
        f"worst-{name}{table}" for name in ("faces-a", "faces-b", "set-b") for table in ("", "-table")
    ]
    assert section.sentences[0].startswith("The pictures are in this page and its folder")
    table = section.parts[1]
    assert table.header == ["pair of", "first", "second", "similarity"]
    assert [row[0] for row in table.rows] == ["two people"] * 2 + ["one person"] * 2
    # One is gone: the others are shown.
    (stored / "faces" / table.rows[0][1]).unlink()
    section = people.worst(models[:1], 2)
    assert len(tiles(section.parts[0].figure)) == 7
    gone = f"1 of the pictures of faces cannot be shown, such as {table.rows[0][1]}: No such file or directory."
    assert section.sentences[1] == gone
    (stored / "faces" / table.rows[0][1]).write_bytes(b"no image")
    assert f"{table.rows[0][1]}: it is no image" in people.worst(models[:1], 2).sentences[1]
    # All are: the table is left.
    (stored / "faces").rename(stored / "moved")
    section = people.worst(models[:1], 2)
    assert section.sentences[1] == (
        f"There are no pictures of faces: {stored}/faces: no such folder; put it back, or evaluate the set where it is "
        "now."
    )
    assert [part.name for part in section.parts] == ["worst-faces-a-table"]
    # Another set of that name.
    store(samples(PEOPLE * EACH, 3), stored / "set", overwrite=True)
    evaluated = models[1].sets["set"]
    with pytest.raises(InputError, match="set: has other images now; evaluate it again"):
        image_reader(evaluated.result["source"], evaluated.images)
    assert not people.worst(models, 0).sentences


def test_the_page_has_the_faces_only_if_they_are_wanted(stored):
    settings = ReportSettings(
        evaluations=[f"a={stored}/a", f"b={stored}/b"], output=str(stored / "page"), replicates=40
    )
    main(settings)
    page = (stored / "page" / "index.html").read_text()
    assert 'id="people"' in page
    assert "At a threshold of " in page
    assert matplotlib.image.imread(stored / "page" / "figures" / "worst-faces-a.png").ndim == 3
    main(dataclasses.replace(settings, output=str(stored / "plain"), worst_pairs=0))
    assert 'id="worst"' not in (stored / "plain" / "index.html").read_text()
    assert not list((stored / "plain").rglob("worst*"))
    with pytest.raises(InputError, match="--worst_pairs=-1"):
        main(dataclasses.replace(settings, worst_pairs=-1))


def test_names_of_the_numbers(stored):
    numbers = numbers_of(read(stored)[0].sets["faces"].result)
    titles = {number: title_of(number) for number in numbers}
    assert titles["verification@fnmr@1e-1"] == "verification: FNMR@1e-1"
    assert titles["open_set@fnir@2e-1"] == "open set: FNIR@2e-1"
    assert titles["groups@hair@two groups@fmr@1e-1"] == "hair two groups: FMR@1e-1"
    assert not [number for number in numbers if "threshold" in number]
    assert all(map(lower_is_better, ("verification@fnmr@1e-1", "open_set@fpir@2e-1", "groups@hair@long@fmr@1e-1")))


def test_pairs_that_turned_are_shown(stored):
    section = changes(read(stored), [], 2, 40, 0, STYLES)
    (picture_part,) = (part for part in section.parts if part.name == "turned-faces-b")
    (table,) = (part for part in section.parts if part.name == "turned-faces-b-table")
    keys = read(stored)[0].sets["faces"].images["key"].tolist()
    places = [keys.index(name) for row in table.rows for name in row[1:3]]
    for tile, place in zip(tiles(picture_part.figure), places, strict=True):
        np.testing.assert_array_equal(tile, decode_image(picture(place)))
    texts = [text.get_text() for text in picture_part.figure.texts]
    assert f"{table.rows[0][3]} to {table.rows[0][4]}" in texts
    # The groups of `evaluate people --by`.
    (groups,) = (part for part in section.parts if part.name == "changes-faces-table")
    assert [row[1] for row in groups.rows if row[1].startswith("hair")] == [
        "hair long",
        "hair short",
        "hair: two groups",
    ]
    (stored / "faces").rename(stored / "moved")
    (picture_part,) = (part for part in changes(read(stored), [], 2, 40, 0, STYLES).parts if "turned" in part.name)
    assert isinstance(picture_part, TextTable)
    assert "There are no pictures" in picture_part.caption
