import numpy as np

from ddl_tf.data.sampling import Rows
from ddl_tf.mining.batch_sheet import batch_sheet

ROWS = Rows(
    record=np.arange(9),
    identity=np.array([5, 1, 5, 2, 7, 7, 3, 8, 8]),
    group=np.array([0, 0, 0, 1, 1, 1, 1, -1, -1]),
    label=np.array([-1, 1, -1, 2, -1, -1, 3, 8, 8]),
)
IMAGES = np.arange(9)[:, None, None, None] * np.ones([9, 8, 8, 3])


def shown(figure):
    """The rows of each line from the top, with whether each is framed."""
    lines = {}
    for axes in figure.axes:
        row = int(axes.images[0].get_array()[0, 0, 0])
        lines.setdefault(-round(axes.get_position().y0, 4), []).append((row, axes.spines["left"].get_visible()))
    return [lines[top] for top in sorted(lines)]


def test_pairs_stand_beside_each_other_and_classified_rows_are_framed():
    figure = batch_sheet(IMAGES, ROWS)
    assert shown(figure) == [
        [(0, False), (2, False)],
        [(1, True)],
        [(4, False), (5, False)],
        [(3, True), (6, True)],
        [(7, True), (8, True)],
    ]
    words = [text.get_text() for text in figure.texts]
    assert words[0] == "9 rows, 5 of them classified (framed)"
    assert words[1:] == [
        "group 0, easy\npairs: 1",
        "group 0, easy\nsingle rows: 1",
        "group 1, hard\npairs: 1",
        "group 1, hard\nsingle rows: 2",
        "no group\nsingle rows: 2",
    ]
    assert [len(line) for line in shown(batch_sheet(IMAGES, ROWS, most=1))] == [2, 1, 2, 1, 1]
