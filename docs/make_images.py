"""Make the pictures of the documentation: `python docs/make_images.py`; those of some pages by their own commands."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from ddl_tf.data import Faces
from ddl_tf.preview import PreviewSettings, preview_figure
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic, render

IMAGES = Path(__file__).parent / "images"


def synthetic_faces(path: Path, first: int = 6, identities: int = 6, easy: int = 4, hard: int = 5) -> None:
    """Draw a contact sheet: identities in rows, easy images left, hard images right.

    Args:
        path: where to save the PNG.
        first: number of the first identity.
        identities: number of rows.
        easy: number of easy images in a row.
        hard: number of hard images in a row.
    """
    divider = 0.2
    wide = easy + divider + hard
    figure = plt.figure(figsize=(9, 9 * (identities + 0.3) / wide), dpi=100)
    unit_x, unit_y = 1 / wide, 1 / (identities + 0.3)
    for row in range(identities):
        for column in range(easy + hard):
            is_hard = column >= easy
            pixels, _ = render(identity=first + row, image=column, hard=is_hard)
            left = (column + divider * is_hard) * unit_x
            axes = figure.add_axes((left, 1 - (row + 1.3) * unit_y, unit_x * 0.98, unit_y * 0.98))
            axes.imshow(pixels, interpolation="lanczos")
            axes.set_axis_off()
    middle = (easy + divider / 2 - 0.01) * unit_x
    figure.add_artist(plt.Line2D((middle, middle), (0, 1), color="0.6", linewidth=1))
    height = 1 - 0.15 * unit_y
    figure.text(easy / 2 * unit_x, height, "easy (group 0)", ha="center", va="center", fontsize=11)
    text = "hard (group 1): pose, resolution, light, occlusion, blur"
    figure.text((easy + divider + hard / 2) * unit_x, height, text, ha="center", va="center", fontsize=11)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    plt.close(figure)
    # 256 colours are enough here, and half the size.
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def augmentation(path: Path, identities: int = 10) -> None:
    """Draw the sheet of `python -m ddl_tf.preview` for synthetic faces.

    Args:
        path: where to save the JPEG.
        identities: identities to choose the faces from.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepare_synthetic(
            SyntheticSettings(
                output=folder, overwrite=True, identities=identities, images_per_identity=2, test_identities=0
            )
        )
        settings = PreviewSettings(
            rows=3, augment_probability=0.5, augment_resolution=0.5, augment_occlusion=0.5, augment_colour=0.5
        )
        # As JPEG: fewer colours would look as if they were an augmentation.
        preview_figure(Faces([f"{folder}/train"]), settings).savefig(path, pil_kwargs={"quality": 90})


@contextlib.contextmanager
def commands_run(page: str) -> Iterator[Path]:
    """Run every command of a page, in its order, and give the folder in which they ran.

    What installs a package, or needs a file that the reader has and we do not, is left out.

    Args:
        page: the page's file in docs/.
    """
    text = (IMAGES.parent / page).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "w600k_r50" not in block]
    commands = "".join(line for line in "".join(blocks).splitlines(True) if not line.startswith("pip "))
    # It returns 1 where photos were left out.
    commands = re.sub(r"^(.* ddl_tf\.gallery enroll .*)$", r"\1 || test $? = 1", commands, flags=re.MULTILINE)
    # `python` is the one that runs this, and it finds the package as it does here.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(IMAGES.parent.parent)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["bash", "-euc", commands], cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)
        yield Path(work)


def mining(folder: Path) -> None:
    """Take the pictures that mining.md shows.

    Args:
        folder: where they go.
    """
    shown = re.findall(rf"\]\(images/{folder.name}/(.*?)\)", (IMAGES.parent / "mining.md").read_text(encoding="utf-8"))
    with commands_run("mining.md") as work:
        for name in shown:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(work / "plots" / name, folder / name)


def photos(folder: Path) -> None:
    """Take the pictures that start_photos.md shows, smaller, and of the faces the first rows.

    Args:
        folder: where they go.
    """
    folder.mkdir(exist_ok=True)
    sources = {
        "group.jpg": ("photos/group/group_1.jpg", 900, 675),
        "marked.jpg": ("marked/group_1.jpg", 900, 675),
        "taken.jpg": ("datasets/mine/taken.jpg", 1100, 581),
    }
    with commands_run("start_photos.md") as work:
        for name, (file, width, height) in sources.items():
            with Image.open(work / file) as picture:
                whole = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
            whole.crop((0, 0, width, height)).save(folder / name, quality=85)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    pictures = (
        (synthetic_faces, "synthetic_faces.png"),
        (augmentation, "augmentation.jpg"),
        (mining, "mining"),
        (photos, "photos"),
    )
    for draw, name in pictures:
        draw(IMAGES / name)
        print(IMAGES / name, file=sys.stderr)
