"""A plain PyTorch DataLoader over a folder for each identity: Pillow decodes, NumPy flips, a worker for each core.

It runs under an interpreter of its own, with torch, NumPy and Pillow.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measuring import measure
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler


class Folder(Dataset):
    """The images of a folder as float32 `[3, height, width]` in [-1, 1], half of them mirrored."""

    def __init__(self, root: Path, size: int, flip: bool) -> None:
        names = sorted(path.name for path in root.iterdir())
        labels = {name: label for label, name in enumerate(names)}
        self._items = [(str(path), labels[path.parent.name]) for path in sorted(root.glob("*/*"))]
        self._size, self._flip = size, flip

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self._items[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        if image.size != (self._size, self._size):
            image = image.resize((self._size, self._size), Image.BILINEAR)
        pixels = np.asarray(image)
        if self._flip and torch.rand(()) < 0.5:
            pixels = pixels[:, ::-1]
        channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return torch.from_numpy(channels_first).float().sub_(127.5).div_(127.5), label


settings = json.loads(sys.argv[1])
begin = time.perf_counter()
folder = Folder(Path(settings["images_root"]), settings["image_size"], settings["flip"])
loader = DataLoader(
    folder,
    settings["batch_size"],
    # Shuffled epochs one after another, without the pause that a new iterator makes.
    sampler=RandomSampler(folder, num_samples=10**9),
    num_workers=os.cpu_count(),
    prefetch_factor=4,
)
measure(begin, loader, settings["batch_size"], settings["seconds"])
