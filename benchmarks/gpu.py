"""All that a GPU is asked in one script of at most 8 minutes: training steps beside arcface_torch's, DDL, heads, input.

    python benchmarks/gpu.py --insightface=CLONE --torch_python=PYTHON --output=runs/gpu

Each part is a process of its own with a time limit, so that one failure does not lose the rest. What has been measured
is written to `<output>/gpu.json` after each part, and printed as a table at the end. `--smoke` goes the same ways with
tiny sizes on any machine, and says nothing about speed. Without the flags of arcface_torch ours alone is measured.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.settings import setting

PEERS = Path(__file__).resolve().parent / "peers"
OURS, THEIRS = "ddl_tf", "arcface_torch"


@dataclasses.dataclass
class Settings:
    """What to measure, and how long at most."""

    insightface: Optional[str] = setting(None, "A clone of deepinsight/insightface, bare or not, to measure it too.")
    torch_python: Optional[str] = setting(None, "An interpreter with torch and NumPy, for --insightface.")
    data: Optional[str] = setting(None, "A stored set for the input pipeline; default: faces drawn for it.")
    output: str = setting("runs/gpu", "Folder for the results, and for drawn faces.")
    minutes: float = setting(8.0, "Time for all parts together; parts that it does not reach are left out.")
    batch: int = setting(256, "Images of a training step.")
    smoke: bool = setting(False, "Whether to try the script with tiny sizes.")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    batch: int
    backbones: tuple[str, ...] = ("iresnet50", "iresnet100")
    steps: int = 30
    classes: int = 10_000
    rows: tuple[int, ...] = (128, 512, 2048, 8192)
    identities: tuple[int, ...] = (1_000_000, 5_000_000)
    faces: int = 100
    seconds: float = 8.0
    precision: str = "mixed_bfloat16"
    xla: bool = True


SMOKE = Sizes(8, ("iresnet18",), 2, 50, (64,), (2_000,), 8, 1.0, "float32", False)


@dataclasses.dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        name: what it measures.
        side: whose it is.
        order: its command line.
        limit: seconds that it may take.
        stdin: what it reads.
    """

    name: str
    side: str
    order: list[str]
    limit: float
    stdin: str = ""


def _script(python: str, name: str, given: dict[str, Any]) -> list[str]:
    return [python, str(PEERS / f"{name}.py"), json.dumps(given)]


def parts(settings: Settings, sizes: Sizes, data: str) -> list[Part]:
    """List the parts, those that matter most first.

    Args:
        settings: the flags.
        sizes: how large everything is.
        data: the stored set.

    Returns:
        The parts.
    """
    common = {
        **dataclasses.asdict(sizes),
        **{"dim": 512, "image_size": 112, "data": data, "insightface": settings.insightface},
    }
    peer = settings.torch_python if settings.insightface else None

    def ours(name: str, part: str, limit: float, **given: Any) -> Part:
        return Part(name, OURS, _script(sys.executable, "gpu_ours", {**common, "part": part, **given}), limit)

    steps = []
    for backbone in sizes.backbones:
        steps.append(ours(f"step, {backbone}", "step", 120, backbone=backbone))
        if peer:
            order = _script(peer, "gpu_theirs", {**common, "backbone": backbone})
            steps.append(Part(f"step, {backbone}", THEIRS, order, 60))
    heads = []
    for identities in sizes.identities:
        given = {"identities": identities, "rows": sizes.batch // 2, "dim": 512, "sample_rate": 0.1, "ranks": 1}
        given.update(rank=0, threads=os.cpu_count(), insightface=settings.insightface)
        given["meeting"] = str(Path(settings.output).resolve() / f"meeting.{os.getpid()}.{identities}")
        for python, script, side in (
            (sys.executable, "partial_fc_ours", OURS),
            (peer, "partial_fc_theirs", THEIRS),
        ):
            if python:
                order = _script(python, script, given)
                heads.append(Part(f"sampled head, {identities:,} identities", side, order, 60, "\n" * sizes.steps))
    return [
        *steps,
        ours("DDL alone", "ddl", 60),
        *heads,
        ours("input pipeline alone", "pipeline", 40),
        ours("training from the pipeline", "train", 90, backbone=sizes.backbones[0]),
    ]


def run(part: Part, limit: float) -> dict[str, Any]:
    """Run a part.

    Args:
        part: which.
        limit: seconds that it may take.

    Returns:
        What it says, or "error".
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A group of its own, so that the processes that it has started end with it.
    process = subprocess.Popen(part.order, env=environment, text=True, start_new_session=True, **pipes)
    try:
        lines, messages = process.communicate(part.stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"error": f"stopped after {limit:.0f} s"}
    if process.returncode:
        return {"error": (messages.strip() or f"ended with {process.returncode}").splitlines()[-1]}
    answers = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    if not part.stdin:
        return answers[-1]
    # A head's first answer is its memory; then each step's time.
    times = sorted(answer["wall"] for answer in answers[1:])
    return {"memory": answers[0].get("device", answers[0]["memory"]) / 1024, "ms": times[len(times) // 2]}


def _cells(name: str, sides: dict[str, dict[str, Any]]) -> list[str]:
    ours, theirs = sides.get(OURS, {}), sides.get(THEIRS, {})
    shown = []
    for side in (ours, theirs):
        if "error" in side:
            shown.append(f"failed: {side['error']}")
        elif "images_per_second" in side:
            shown.append(f"{side['images_per_second']:,.0f} images/s, {side['memory']:.1f} GiB")
        else:
            shown.append(f"{side['ms']:,.1f} ms, {side['memory']:.1f} GiB" if side else "")
    # Of speeds, so that more is better.
    measured = all("ms" in side for side in (ours, theirs))
    return [name, *shown, f"{theirs['ms'] / ours['ms']:.2f}" if measured else ""]


def report(results: dict[str, dict[str, dict[str, Any]]], sizes: Sizes) -> str:
    """Write the table.

    Args:
        results: name of a part -> side -> what it said.
        sizes: how large everything was.

    Returns:
        Markdown.
    """
    lines = [f"| | {OURS} | {THEIRS} | speed, ours / theirs |", "| --- | --- | --- | --- |"]
    step = results.get(f"step, {sizes.backbones[0]}", {}).get(OURS, {}).get("images_per_second")
    for name, sides in results.items():
        alone = sides.get(OURS, {}).get("ms")
        if not isinstance(alone, dict):
            lines.append(f"| {' | '.join(_cells(name, sides))} |")
            continue
        for rows, ms in alone.items():
            share = f", {ms / (ms + 1e3 * int(rows) / step):.2%} of a step of {sizes.backbones[0]}" if step else ""
            lines.append(f"| DDL, {int(rows):,} rows | {ms:.2f} ms{share} | | |")
    return "\n".join(lines)


def _drawn_faces(settings: Settings, sizes: Sizes) -> str:
    """A stored set of drawn faces, made if it is not there."""
    from ddl_tf.synthetic import SyntheticSettings, prepare_synthetic

    root = Path(settings.output) / f"faces_{sizes.faces}"
    if not (root / "train").exists():
        made = {"identities": sizes.faces, "images_per_identity": 8, "test_identities": 0}
        prepare_synthetic(SyntheticSettings(output=str(root), **made))
    return str(root / "train")


def main(settings: Settings) -> None:
    """Run all parts, write the results, and print the table.

    Args:
        settings: the flags.

    Raises:
        InputError: if a flag does not fit, or nothing was measured.
    """
    if bool(settings.insightface) != bool(settings.torch_python):
        raise InputError("--insightface and --torch_python belong together; see --help")
    if settings.batch < 2 or settings.minutes <= 0:
        raise InputError(f"--batch={settings.batch} must be above 1, --minutes={settings.minutes} above 0")
    end = time.monotonic() + 60 * settings.minutes
    sizes = SMOKE if settings.smoke else Sizes(settings.batch)
    Path(settings.output).mkdir(parents=True, exist_ok=True)
    data = settings.data or _drawn_faces(settings, sizes)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for part in parts(settings, sizes, data):
        left = end - time.monotonic()
        began = time.monotonic()
        seen = (
            run(part, min(part.limit, left)) if left > 5 else {"error": f"no time left of --minutes={settings.minutes}"}
        )
        results.setdefault(part.name, {})[part.side] = seen
        print(f"{part.name}, {part.side}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        with write_aside(Path(settings.output) / "gpu.json") as aside:
            aside.write_text(json.dumps({"sizes": dataclasses.asdict(sizes), "results": results}, indent=2) + "\n")
    said = [seen for sides in results.values() for seen in sides.values()]
    devices = sorted({seen["device"] for seen in said if "device" in seen})
    if not devices:
        raise InputError(f"nothing was measured; {settings.output}/gpu.json says why")
    print(f"Measured on: {', '.join(devices)}; {sizes.precision}, {'with' if sizes.xla else 'without'} XLA\n")
    if devices == ["CPU"]:
        print("No GPU was found: these are not the numbers of one.\n")
    print(report(results, sizes))


if __name__ == "__main__":
    command.run(main, Settings)
