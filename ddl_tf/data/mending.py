"""Stored sets some of whose images can no longer be read: another image of the same person stands for each of them.

Records stay where they are, and the index keeps its length and order, so that the rows of every step of a run stay
those that they were: a run that such an image has stopped goes on.
"""

from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, require_regular_file, write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.data.layout import INDEX, LOCK, MENDED
from ddl_tf.data.store import Faces
from ddl_tf.images.decoding import why_undecodable

PLACE = ("shard", "offset", "length")


def read_mended(path: Path) -> pd.DataFrame:
    """Read what was mended in a set: `row` of the index, its first place, the row that `stands_in`, and `reason`."""
    file = path / MENDED
    columns = ["row", *PLACE, "stands_in", "reason"]
    if not file.exists():
        return pd.DataFrame(columns=columns)
    require_regular_file(file)
    try:
        stand_ins = pd.read_csv(file)
        # What was lost, by number; a cell that is none raises.
        stand_ins[columns[:-1]] = stand_ins[columns[:-1]].astype(np.int64)
        return stand_ins[columns]
    except (ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not what `prepare mend` wrote ({reason}); put a copy back") from None


def own_places(path: Path, index: pd.DataFrame) -> pd.DataFrame:
    """Copy the index with every row at its first place in the shards, as before any mending."""
    stand_ins = read_mended(path)
    if not stand_ins["row"].between(0, len(index) - 1).all():
        raise InputError(f"{path / MENDED}: names rows that the set does not have; put a copy back")
    index = index.copy()
    for name in PLACE:
        index.loc[stand_ins["row"].to_numpy(np.int64), name] = stand_ins[name].to_numpy(np.int64)
    return index


def mend_set(path: str) -> pd.DataFrame:
    """Let other images stand in for those that cannot be read; returns what was mended now, as `read_mended`."""
    folder = Path(path)
    with lock_folder(folder, LOCK):
        faces = Faces([path])
        reasons: dict[int, str] = {}
        with Progress("mend", len(faces)) as progress:
            for row, reason in enumerate(map_in_order(lambda row: _why_unreadable(faces, row), range(len(faces)))):
                if reason is not None:
                    reasons[row] = reason
                    progress.write(f"{path}, row {row}: {reason}")
                progress.advance()
        before = read_mended(folder).set_index("row")
        identity, group = (faces.index[name].to_numpy() for name in ("identity", "group"))
        good = ~np.isin(np.arange(len(faces)), list(reasons))
        rows: list[dict[str, Any]] = []
        for row, reason in reasons.items():
            others = np.flatnonzero(good & (identity == identity[row]) & (group == group[row]))
            if not len(others):
                place = faces.index.iloc[row]
                raise InputError(
                    f"{path}: row {row} cannot be read, and identity {place['identity_key']} has no other image of "
                    f"group {group[row]}: put a copy of {faces.shards[place['shard']]} back, or prepare the set again"
                )
            # The next one, from the first on after the last.
            stands_in = int([*others[others > row], others[0]][0])
            # Of a row that was mended before, the index tells the place of its first stand-in.
            place = before.loc[row] if row in before.index else faces.index.iloc[row]
            places = {name: int(place[name]) for name in PLACE}
            rows.append({"row": row, **places, "stands_in": stands_in, "reason": reason})
        stand_ins = pd.DataFrame(rows, columns=["row", *PLACE, "stands_in", "reason"])
        if not rows:
            return stand_ins
        table = pq.read_table(folder / INDEX)
        order = np.arange(len(table))
        order[stand_ins["row"].to_numpy(np.int64)] = stand_ins["stands_in"].to_numpy(np.int64)
        # The places first: as long as the index is the old one, they are what it says itself.
        with write_aside(folder / MENDED) as aside:
            kept = before.drop(stand_ins["row"], errors="ignore").reset_index()
            pd.concat([kept, stand_ins] if len(kept) else [stand_ins]).sort_values("row").to_csv(aside, index=False)
        with write_aside(folder / INDEX) as aside:
            pq.write_table(table.take(order), aside)
        return stand_ins


def _why_unreadable(faces: Faces, row: int) -> Optional[str]:
    try:
        (encoded,) = faces.read(np.array([row]))
    except InputError:
        return "no record there"
    return why_undecodable(encoded)
