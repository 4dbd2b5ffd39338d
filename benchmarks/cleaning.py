"""How many planted faults `python -m ddl_tf.mine clean` finds, and how many of what it reports are planted.

    python -m ddl_tf.prepare synthetic --output=people --identities=400 --images_per_identity=12 --hard_fraction=0.25 \
        --aligned --test_identities=100 --seed=1
    python -m ddl_tf.train --run_dir=run --train_data=people/train --pairs=people/easy,people/hard \
        --backbone=plain_small --embedding_size=128 --image_size=64 --margin=0.3 --scale=32 --shuffled_rows=128 \
        --epochs=16 --warmup_epochs=1 --evaluate_every=16
    python -m ddl_tf.prepare synthetic --output=others --identities=300 --images_per_identity=10 --hard_fraction=0 \
        --aligned --test_identities=0 --seed=2
    python benchmarks/cleaning.py --data=others/train --model=run --output=planted

plants faults into copies of a set and prints the tables of docs/results/cleaning.md. The given share of the images gets
the label of somebody else, and as many identities are split in two. A fifth of the share is of each other kind: copies
with the same label (the same file; or compressed, scaled down, mirrored), copies with another label, grounds without a
face, faces that are shifted, turned or scaled.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import contextlib
import dataclasses
import io
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import required, setting
from ddl_tf.data import Faces, StoreSettings, write_set
from ddl_tf.evaluation.embedding_file import EMBEDDINGS, Embeddings
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Sample, Source
from ddl_tf.mine import CleanSettings, clean
from ddl_tf.mining.view import measure_view
from ddl_tf.synthetic.grounds import draw_ground

# Of the faults other than wrong labels, each is this share of those.
_OTHERS = 1 / 5


@dataclasses.dataclass
class Settings:
    """What to plant, and where."""

    data: list[str] = setting([], "Stored sets of aligned faces; required.")
    model: Optional[str] = setting(None, "The network to judge by: a checkpoint or run folder; required.")
    output: str = setting("runs/cleaning", "Folder for the sets with planted faults.")
    shares: list[float] = setting([0.01, 0.05, 0.1, 0.2], "Shares of wrong labels.")
    least_images: int = setting(5, "Identities with fewer images are left out.")
    near_duplicate: float = setting(0.98, "As of `mine clean`.")
    seed: int = setting(0, "Seed of the faults.")


def plant(faces: Faces, share: float, least_images: int, seed: int) -> list[Sample]:
    """Plant faults into the images of a set.

    Args:
        faces: the set.
        share: of wrong labels, and of split identities.
        least_images: identities with fewer images are left out.
        seed: of all choices.

    Returns:
        The samples, with the columns `planted`, the kind or "", and `source_row`, where the image is from (-1: drawn).
    """
    rng = np.random.default_rng([seed, round(1e6 * share)])
    identity = faces.index["identity"].to_numpy(np.int64)
    counts = np.bincount(identity, minlength=faces.num_identities)
    rows = np.flatnonzero(counts[identity] >= least_images)
    people = np.unique(identity[rows])
    names = {row: str(identity[row]) for row in rows.tolist()}
    for person in rng.choice(people, round(share * len(people)), replace=False).tolist():
        images = rng.permutation(rows[identity[rows] == person])
        names.update(dict.fromkeys(images[: len(images) // 2].tolist(), f"{person}b"))
    others, each = sorted(set(names.values())), round(_OTHERS * share * len(rows))

    def other(row: int) -> str:
        """Somebody else's name."""
        return str(rng.choice([name for name in rng.choice(others, 5) if name.rstrip("b") != str(identity[row])]))

    sizes = [round(share * len(rows)), each, each, each, each]
    flipped, misfits, exact, near, across = np.split(rng.permutation(rows)[: sum(sizes)], np.cumsum(sizes)[:-1])
    samples = []

    def add(row: int, name: str, planted: str = "", image: Optional[bytes] = None) -> None:
        encoded = image or faces.read(np.array([row]))[0]
        samples.append(Sample(encoded, name, f"row {row}", columns={"planted": planted, "source_row": row}))

    turned, moved = set(flipped.tolist()), set(misfits.tolist())
    for row in rows.tolist():
        if row in turned:
            add(row, other(row), "wrong_label")
        elif row in moved:
            add(row, names[row], "poor_fit", _misfit(faces.image(row), rng))
        else:
            add(row, names[row])
    for row in exact.tolist():
        add(row, names[row], "duplicate")
    for row in near.tolist():
        add(row, names[row], "near_duplicate", _near_copy(faces.image(row), rng))
    for row in across.tolist():
        add(row, other(row), "two_labels")
    size = faces.image(int(rows[0])).shape[:2]
    for _ in range(each):
        ground = draw_ground(rng, (4 * size[1], 4 * size[0]))
        top, left = rng.integers(0, [3 * size[0], 3 * size[1]]).tolist()
        pixels = ground[top : top + size[0], left : left + size[1]].clip(0, 255).astype(np.uint8)
        add(-1, str(rng.choice(others)), "no_face", encode_jpeg(Image.fromarray(pixels), 90))
    return samples


def _near_copy(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    image = Image.fromarray(pixels)
    way = rng.integers(3)
    if way == 0:
        return encode_jpeg(image, int(rng.integers(20, 60)))
    if way == 1:
        return encode_jpeg(image.resize([round(side * rng.uniform(0.3, 0.7)) for side in image.size]), 90)
    return encode_jpeg(ImageOps.mirror(image), 90)


def _misfit(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    """Shift a face by a fifth of its side or more, turn it by 40 to 80 degrees, or scale it."""
    image = Image.fromarray(pixels)
    side, way = image.size[0], rng.integers(3)
    shift, turn, scale = (0.0, 0.0), 0.0, 1.0
    if way == 0:
        angle = rng.uniform(0, 2 * np.pi)
        shift = side * rng.uniform(0.2, 0.35) * np.cos(angle), side * rng.uniform(0.2, 0.35) * np.sin(angle)
    elif way == 1:
        turn = float(rng.choice([-1, 1]) * rng.uniform(40, 80))
    else:
        scale = float(rng.choice([rng.uniform(0.45, 0.6), rng.uniform(1.6, 2)]))
    size = round(side * scale)
    image = image.resize((size, size)).rotate(turn, Image.Resampling.BICUBIC)
    middle = Image.new("RGB", (side, side), (127, 127, 127))
    middle.paste(image, (round((side - size) / 2 + shift[0]), round((side - size) / 2 + shift[1])))
    return encode_jpeg(middle, 90)


def score(index: pd.DataFrame, same: pd.DataFrame) -> pd.DataFrame:
    """Compare what was reported with what was planted.

    Args:
        index: of the cleaned set, with the columns of `plant` and `fault`.
        same: the table `same_person.csv`.

    Returns:
        A row for each kind: how many were planted and reported, precision and recall.
    """
    planted, fault = index["planted"], index["fault"]
    rows = []

    def add(kind: str, count: int, right: np.ndarray, found: int) -> None:
        precision = float(right.mean()) if len(right) else np.nan
        rows.append([kind, count, len(right), precision, found / count if count else np.nan])

    for kind in ("duplicate", "near_duplicate"):
        # Either image of a pair may be the one that is left out.
        sources = set(index["source_row"][planted == kind])
        reported = index["source_row"][fault == kind]
        add(kind, len(sources), reported.isin(sources).to_numpy(), len(sources & set(reported)))
    # A face that is shifted far may not be found at all.
    for name, kinds in (("two_labels", ["two_labels"]), ("no_face or poor_fit", ["no_face", "poor_fit"])):
        right = planted.isin(kinds)[fault.isin(kinds)].to_numpy()
        add(name, int(planted.isin(kinds).sum()), right, int(right.sum()))
    wrong = planted == "wrong_label"
    both = ["wrong_identity", "outlier"]
    for name, kinds in (("wrong_identity", both[:1]), ("outlier", both[1:]), ("either", both)):
        right = wrong[fault.isin(kinds)].to_numpy()
        add(f"wrong label: {name}", int(wrong.sum()), right, int(right.sum()))
    margin = wrong[index["center_margin"] < 0].to_numpy()
    add("wrong label: center_margin < 0, of `mine model`", int(wrong.sum()), margin, int(margin.sum()))
    keys = set(index["identity_key"].astype(str))
    split = {frozenset((key, key[:-1])) for key in keys if key.endswith("b") and key[:-1] in keys}
    pairs = [frozenset(map(str, pair)) for pair in same[["first", "second"]].itertuples(index=False)]
    right = np.array([pair in split for pair in pairs], bool)
    add("same person (pairs)", len(split), right, int(right.sum()))
    return pd.DataFrame(rows, columns=["kind", "planted", "reported", "precision", "recall"])


def main(settings: Settings) -> None:
    """Plant faults at each share, clean, and print the tables.

    Args:
        settings: the flags.
    """
    required(settings, "data", "model")
    if any(not 0 < share <= 0.5 for share in settings.shares):
        raise InputError(f"--shares={','.join(map(str, settings.shares))}: each must be above 0, and at most 0.5")
    faces = Faces(settings.data)
    tables: dict[str, Any] = {}
    for share in settings.shares:
        output = Path(settings.output) / f"{share:g}"
        if not output.exists():
            samples = plant(faces, share, settings.least_images, settings.seed)
            name = f"{', '.join(settings.data)}, share {share:g}, seed {settings.seed}"
            source = Source("planted", name, len(samples), lambda start, all=samples: iter(all[start:]))
            write_set(source, StoreSettings(output=str(output)))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            clean(CleanSettings(data=[str(output)], model=settings.model, near_duplicate=settings.near_duplicate))
        (output / "mined" / "clean" / "printed.md").write_text(printed.getvalue())
        cleaned = Faces([str(output)])
        identity = cleaned.index["identity"].to_numpy(np.int64)
        embeddings = Embeddings(output / "mined" / "embeddings" / EMBEDDINGS)
        view = measure_view(embeddings, identity, cleaned.num_identities)
        same = pd.read_csv(output / "mined" / "clean" / "same_person.csv", dtype={"first": str, "second": str})
        table = score(cleaned.index.assign(center_margin=view["center_margin"]), same)
        table.to_csv(output / "mined" / "clean" / "score.csv", index=False)
        tables[f"{share:.0%}"] = table
        print(f"\n{share:.0%}: {len(cleaned):,} images of {cleaned.num_identities:,} identities\n")
        print(markdown_table(table), flush=True)
    summary = pd.DataFrame({"kind": next(iter(tables.values()))["kind"]})
    for name, table in tables.items():
        summary[name] = [f"{p:.3f} / {r:.3f}" for p, r in zip(table["precision"], table["recall"])]
    print(f"\nprecision / recall\n\n{markdown_table(summary)}")


if __name__ == "__main__":
    command.run(main, Settings)
