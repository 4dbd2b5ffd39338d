"""CelebA -> CFP pose: run the published recipes over several seeds and print the table of docs/results.md.

    python benchmarks/cfp_pose.py --celeba=DIR --cfp=DIR --lfw_bin=FILE --output=runs/cfp_pose --seeds=0,1,2

imports the sets, trains `recipes/celeba_cfp_pretrain.cfg` once, fine-tunes each arm's recipe for each seed, and
evaluates the last checkpoints. What is finished is not run again.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pandas as pd

from ddl_tf import command
from ddl_tf.errors import InputError
from ddl_tf.settings import setting

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
ARMS = {"ArcFace": "cfp_pose_arcface", "CosFace": "cfp_pose_cosface", "ArcFace + DDL": "cfp_pose_ddl"}


@dataclasses.dataclass
class Settings:
    """Where the data is, and how often to run."""

    celeba: Optional[str] = setting(None, "Folder with train.rec and train.idx of CelebA.")
    cfp: Optional[str] = setting(None, "Folder of CFP.")
    lfw_bin: Optional[str] = setting(None, "LFW's verification file (.bin).")
    output: str = setting("runs/cfp_pose", "Folder for the stored sets, the runs and the results.")
    seeds: list[int] = setting([0, 1, 2], "Seeds of the fine-tuning.")
    test_folds: list[int] = setting([4, 5], "CFP's folds to evaluate on; 1 to 3 are trained on.")


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)


def _row(arm: str, seed: int, run: Path) -> dict[str, object]:
    """One line of the table from a finished run."""
    row: dict[str, object] = {"arm": arm, "seed": seed}
    results = {result["set"]: result for result in json.loads((run / "results.json").read_text())}
    for name, result in results.items():
        row.update({f"{name} AUC": result["auc"], f"{name} TAR@1e-2": result["tar"]["1e-2"]})
        row[f"{name} margin"] = result["expectation_margin"]
    row["gap"] = results["cfp_ff"]["expectation_margin"] - results["cfp_fp"]["expectation_margin"]
    return row


def main(settings: Settings) -> None:
    """Run what is not finished, and print the table.

    Args:
        settings: the flags.
    """
    for name in ("celeba", "cfp", "lfw_bin"):
        if not getattr(settings, name):
            raise InputError(f"--{name} is missing; see --help")
    output = Path(settings.output)
    celeba, cfp_train = output / "celeba", output / "cfp_train"
    if not celeba.exists():
        rec = Path(str(settings.celeba)) / "train.rec"
        _run("ddl_tf.prepare", "recordio", f"--rec={rec}", f"--output={celeba}", "--on_error=skip")
    if not cfp_train.exists():
        _run("ddl_tf.prepare", "cfp", f"--root={settings.cfp}", "--folds=1,2,3", f"--output={cfp_train}")
    evaluation = [
        f"--bin={settings.lfw_bin}",
        f"--cfp_root={settings.cfp}",
        f"--cfp_folds={','.join(map(str, settings.test_folds))}",
    ]

    def train(recipe: str, run: Path, *flags: str) -> None:
        _run("ddl_tf.train", f"--flagfile={RECIPES / recipe}.cfg", f"--run_dir={run}", *evaluation, *flags)

    pretrained = output / "pretrain"
    train("celeba_cfp_pretrain", pretrained, f"--train_data={celeba}")
    rows = [_row("pre-trained", 0, pretrained)]
    for seed in settings.seeds:
        for arm, recipe in ARMS.items():
            run = output / f"{recipe}_{seed}"
            start = f"--init_checkpoint={pretrained / 'checkpoints' / 'last.keras'}"
            train(recipe, run, f"--train_data={celeba},{cfp_train}", start, f"--seed={seed}")
            rows.append(_row(arm, seed, run))
            pd.DataFrame(rows).to_csv(output / "cfp_pose.csv", index=False)
    table = pd.DataFrame(rows)
    means = table.drop(columns="seed").groupby("arm", sort=False).agg(["mean", "std"])
    measures = list(dict.fromkeys(name for name, _ in means.columns))
    print("| arm |", " | ".join(measures), "|")
    print("|" + " --- |" * (1 + len(measures)))
    for arm, row in means.iterrows():
        cells = [
            f"{row[name, 'mean']:.3f}" + ("" if pd.isna(row[name, "std"]) else f" ± {row[name, 'std']:.3f}")
            for name in measures
        ]
        print("|", " | ".join([str(arm), *cells]), "|")


if __name__ == "__main__":
    command.run(main, Settings)
