import numpy as np
import pytest

from ddl_tf.reporting.bins import identification_figure, rank1_table
from ddl_tf.reporting.palette import styles_of

RANK = np.array([1, 1, 2, 0, 1, 7, 1, 3])
CONDITION = np.array(["d1", "d1", "d1", "d1", "d2", "d2", "d2", "d2"])


def test_rank1_by_condition():
    table = rank1_table(RANK, CONDITION)
    assert table["condition"].tolist() == ["d1", "d2"]
    assert table["probes"].tolist() == [4, 4]
    assert table["rank1"].tolist() == [0.5, 0.5]
    # Wilson's interval of 2 out of 4.
    assert table[["low", "high"]].to_numpy()[0] == pytest.approx([0.15004, 0.84996], abs=1e-4)


def test_a_person_is_drawn_with_all_probes():
    rank = np.repeat([1, 2], 20)
    table = rank1_table(rank, np.full(40, ""), person=np.repeat([0, 1], 20), replicates=200)
    # Both draws may be of the same person.
    assert table[["low", "high"]].to_numpy()[0].tolist() == [0, 1]
    alone = rank1_table(rank, np.full(40, ""), person=np.arange(40), replicates=200)
    assert alone["low"][0] > 0.2


def test_the_figure_shows_both():
    ranks = {"A": RANK, "B": np.ones(8, int)}
    tables = {name: rank1_table(rank, CONDITION) for name, rank in ranks.items()}
    curve, conditions = identification_figure("scface", ranks, tables, styles_of(ranks)).axes
    for line, rank in zip(curve.lines, ranks.values()):
        assert line.get_xdata().tolist() == list(range(1, 8))
        assert line.get_ydata().tolist() == [np.mean([0 < place <= k for place in rank]) for k in range(1, 8)]
    assert [container[0].get_ydata().tolist() for container in conditions.containers] == [[0.5, 0.5], [1, 1]]
    assert [tick.get_text() for tick in conditions.get_xticklabels()] == ["d1\n4 probes", "d2\n4 probes"]
    # One condition alone has no panel.
    tables = {"A": rank1_table(RANK, np.full(8, ""))}
    assert len(identification_figure("tinyface", {"A": RANK}, tables, styles_of("A")).axes) == 1
