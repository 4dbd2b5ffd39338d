"""What a training step needs with recomputed blocks and with micro-batches, as a Markdown table.

    python benchmarks/step_memory.py

Each row is a process of its own, which says how far its memory rose above what it was before its first step, and how
long a step takes once the graph is built. The memory is that of the process, as the operating system counts it.
"""

import dataclasses
import json
import resource
import subprocess
import sys
import time

from ddl_tf.common import command
from ddl_tf.common.settings import setting


@dataclasses.dataclass
class Settings:
    """What to measure."""

    backbone: str = setting("iresnet50", "Name of the backbone.")
    image_size: int = setting(112, "Height and width of the images, in pixels.")
    rows: int = setting(32, "Rows of a step.")
    micro_batches: int = setting(4, "Parts that the rows are cut into.")
    steps: int = setting(2, "Steps that are timed, after one that is not.")
    row: str = setting("", "The one row to measure in this process; all of them, each in its own, if not given.")


# Name -> settings of the training run that it changes.
ROWS = {
    "plain": {},
    "--recompute": {"recompute": True},
    "--micro_batches": {"micro_batches": None},
    "both": {"recompute": True, "micro_batches": None},
}


def _peak() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(settings: Settings) -> dict[str, float]:
    """Train for a few steps."""
    import numpy as np

    from ddl_tf.training import TrainSettings
    from ddl_tf.training.objective import compile_recognizer
    from ddl_tf.training.run import recognizer_of

    changes = {key: value or settings.micro_batches for key, value in ROWS[settings.row].items()}
    train = TrainSettings(
        run_dir="none",
        train_data=["none"],
        backbone=settings.backbone,
        image_size=settings.image_size,
        rows_per_group=2,
        embedding_loss="ddl",
        **changes,
    )
    model = recognizer_of(train, 100)
    compile_recognizer(model, train, 100, 1)
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(settings.rows // 2), 2)
    inputs = {
        "image": rng.integers(0, 256, [settings.rows, settings.image_size, settings.image_size, 3]).astype(np.uint8),
        "label": identity,
    }
    targets = {"embedding": np.stack([identity, np.arange(settings.rows) // 4 % 2], 1), "logits": identity}
    before = _peak()
    model.train_on_batch(inputs, targets)
    began = time.perf_counter()
    for _ in range(settings.steps):
        model.train_on_batch(inputs, targets)
    return {"seconds": (time.perf_counter() - began) / settings.steps, "megabytes": _peak() - before}


def main(settings: Settings) -> None:
    """Print the table.

    Args:
        settings: the flags.
    """
    if settings.row:
        print(json.dumps(measure(settings)))
        return
    print(f"| {settings.backbone}, {settings.image_size} px, {settings.rows} rows | s/step | memory (MB) | of plain |")
    print("| --- | --- | --- | --- |")
    plain = 0.0
    for row in ROWS:
        flags = [f"--{name}={value}" for name, value in dataclasses.asdict(settings).items() if name != "row"]
        run = subprocess.run(
            [sys.executable, __file__, *flags, f"--row={row}"], check=True, capture_output=True, text=True
        )
        step = json.loads(run.stdout.splitlines()[-1])
        plain = plain or step["megabytes"]
        name = f"{row}={settings.micro_batches}" if row == "--micro_batches" else row
        print(f"| {name} | {step['seconds']:.1f} | {step['megabytes']:.0f} | {step['megabytes'] / plain:.2f} |")


if __name__ == "__main__":
    command.run(main, Settings)
