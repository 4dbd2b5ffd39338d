"""Import faces into the stored form, make synthetic ones, convert weights: `python -m ddl_tf.prepare COMMAND`."""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any, Optional

from ddl_tf import data, evaluation, models, runtimes
from ddl_tf.common.settings import refuse_ignored, required, setting
from ddl_tf.data.layout import PAIRS
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.detection.choice import AGREED
from ddl_tf.importers import Source, csv_source, folder_source, recordio_source
from ddl_tf.importers.cfp import PROTOCOLS, cfp_source
from ddl_tf.importers.scface import MUGSHOTS, VISIBLE_CAMERAS, read_subjects, scface_source, split_subjects
from ddl_tf.photos.aligning import AlignSettings, align_folder
from ddl_tf.photos.preparing import SHEETS, PhotoStoreSettings, prepare_photos
from ddl_tf.protocols.pair_csv import read_pair_csv
from ddl_tf.protocols.pair_sets import PairSet, pair_source, pairs_table, read_bin, read_cfp, read_lfw
from ddl_tf.runtimes.embedders import MEAN_HELP, ORDER_HELP, ORDERS
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic


@dataclasses.dataclass
class ImportSettings(StoreSettings):
    """What all imports of training sets share."""

    on_error: str = setting(
        "refuse",
        "What to do about what cannot be stored: stop at the first problem, or leave it out, tell it and count it.",
        choices=("refuse", "skip"),
    )


@dataclasses.dataclass
class PhotosSettings(PhotoStoreSettings):
    """Flags of `photos`."""

    model: Optional[str] = setting(
        None, "With --face=agreed: a .keras checkpoint, run folder or exported model that compares faces."
    )


@dataclasses.dataclass
class RecordIOSettings(ImportSettings):
    """Flags of `recordio`."""

    rec: Optional[str] = setting(None, "The .rec file; .idx and property beside it are used if there; required.")
    csv: Optional[str] = setting(
        None, "A CSV file with a line for every image: column index (number of the record), perhaps group, and others."
    )


@dataclasses.dataclass
class FolderSettings(ImportSettings):
    """Flags of `folder`."""

    root: Optional[str] = setting(None, "The folder that holds a folder of images for each identity; required.")


@dataclasses.dataclass
class CSVSettings(ImportSettings):
    """Flags of `csv`."""

    csv: Optional[str] = setting(None, "The CSV file: columns path, identity, perhaps group, and others; required.")
    root: Optional[str] = setting(None, "The folder that the paths begin at; default: that of the CSV file.")


@dataclasses.dataclass
class CFPSettings(ImportSettings):
    """Flags of `cfp`."""

    root: Optional[str] = setting(None, "The folder of CFP; required.")
    folds: list[int] = setting([1, 2, 3], "The folds whose identities to take, of 1 to 10.")


@dataclasses.dataclass
class SCfaceSettings(ImportSettings):
    """Flags of `scface`."""

    root: Optional[str] = setting(None, "The folder of SCface: SCface_database, or all images in one folder; required.")
    training_subjects: Optional[str] = setting(
        None, "A list of the subjects to take, a number a line; default: the 50 that --split_seed draws."
    )
    split_seed: int = setting(0, "Seed of the draw of 50 training subjects of 130; evaluate with the same one.")
    cameras: list[int] = setting(list(VISIBLE_CAMERAS), "The cameras whose images to take, of 1 to 7.")
    easy_distances: list[int] = setting(
        [3], "Distances that are easy as the mugshots are, group 0; the others are group 1. 1 is far, 3 near."
    )
    mugshots: str = setting("cropped", "Which of the official folders of mugshots to take.", choices=MUGSHOTS)


@dataclasses.dataclass
class BinSettings(StoreSettings):
    """Flags of `bin`."""

    bin: Optional[str] = setting(None, "The InsightFace verification file; required.")


@dataclasses.dataclass
class LFWSettings(StoreSettings):
    """Flags of `lfw`."""

    root: Optional[str] = setting(None, "The folder that holds a folder of images for each person; required.")
    pairs: Optional[str] = setting(None, "The list of pairs: pairs.txt, pairsDevTest.txt, ...; required.")


@dataclasses.dataclass
class CFPPairsSettings(StoreSettings):
    """Flags of `cfp_pairs`."""

    root: Optional[str] = setting(None, "The folder of CFP; required.")
    protocol: str = setting("FP", "Frontal-frontal or frontal-profile pairs.", choices=PROTOCOLS)
    folds: list[int] = setting(list(range(1, 11)), "The folds to take, of 1 to 10.")


@dataclasses.dataclass
class PairCSVSettings(StoreSettings):
    """Flags of `pairs`."""

    csv: Optional[str] = setting(
        None,
        "The CSV file: columns first, second (paths of images), same (1 or 0), perhaps fold, first_person and "
        "second_person, and others; required.",
    )
    root: Optional[str] = setting(None, "The folder that the paths begin at; default: that of the CSV file.")


@dataclasses.dataclass
class WeightsSettings:
    """Flags of `weights`."""

    input: Optional[str] = setting(
        None,
        "InsightFace's PyTorch state dict, such as backbone.pth, an ONNX network (.onnx) of anybody's, or the "
        "model.json of a TensorFlow.js graph model; required.",
    )
    backbone: str = setting("iresnet50", "The network of a state dict: iresnet18|34|50|100 or mobilefacenet.")
    output: Optional[str] = setting(None, "The checkpoint to write, ending in .keras; required.")
    input_mean: Optional[float] = setting(None, MEAN_HELP)
    input_scale: Optional[float] = setting(None, "See --input_mean.")
    input_order: str = setting("rgb", ORDER_HELP, choices=ORDERS)


@dataclasses.dataclass
class VerifySettings:
    """Flags of `verify` and `mend`."""

    input: Optional[str] = setting(None, "The folder of the stored set; required.")


def _import(source: Source, settings: ImportSettings) -> None:
    _print_stored(write_set(source, settings, settings.on_error), str(settings.output))


def _print_stored(described: dict[str, Any], output: str) -> None:
    size = sum(shard["bytes"] for shard in described["shards"].values()) / 2**20
    skipped = ", ".join(f"{count:,} {kind}" for kind, count in described["problems"].items()) or "nothing"
    what = f"{described['images']:,} images of {described['identities']:,} identities"
    print(f"stored {what} in {output} ({size:,.1f} MB); left out: {skipped}")


def _import_pairs(pair_set: PairSet, kind: str, name: str, settings: StoreSettings) -> None:
    described = write_set(pair_source(pair_set, kind, name), settings, tables={PAIRS: pairs_table(pair_set)})
    pairs = f"{len(pair_set.same):,} pairs, {int(pair_set.same.sum()):,} of the same person"
    print(f"stored {described['images']:,} images and {pairs}, in {settings.output}")


def recordio(settings: RecordIOSettings) -> None:
    """Import an InsightFace RecordIO set (.rec, .idx, property) for training."""
    required(settings, "rec")
    _import(recordio_source(str(settings.rec), settings.csv), settings)


def folder(settings: FolderSettings) -> None:
    """Import a folder of images per identity for training."""
    required(settings, "root")
    _import(folder_source(str(settings.root)), settings)


def csv(settings: CSVSettings) -> None:
    """Import images that a CSV file lists for training."""
    required(settings, "csv")
    _import(csv_source(str(settings.csv), settings.root), settings)


def cfp(settings: CFPSettings) -> None:
    """Import identities of CFP for training: group 0 frontal, group 1 profile."""
    required(settings, "root")
    _import(cfp_source(str(settings.root), settings.folds), settings)


def scface(settings: SCfaceSettings) -> None:
    """Import subjects of SCface for training: group 0 mugshots and near, group 1 far from the camera."""
    required(settings, "root")
    chosen = settings.training_subjects
    subjects = read_subjects(chosen) if chosen else split_subjects(settings.split_seed)[0]
    source = scface_source(str(settings.root), subjects, settings.cameras, settings.easy_distances, settings.mugshots)
    _import(source, settings)


def bin(settings: BinSettings) -> None:
    """Import an InsightFace verification file (.bin)."""
    required(settings, "bin")
    _import_pairs(read_bin(str(settings.bin)), "bin", str(settings.bin), settings)


def lfw(settings: LFWSettings) -> None:
    """Import the pairs of a list of LFW."""
    required(settings, "root", "pairs")
    _import_pairs(read_lfw(str(settings.root), str(settings.pairs)), "lfw", str(settings.pairs), settings)


def cfp_pairs(settings: CFPPairsSettings) -> None:
    """Import the pairs of a protocol of CFP."""
    required(settings, "root")
    root = str(settings.root)
    _import_pairs(read_cfp(root, settings.protocol, settings.folds), "cfp_pairs", root, settings)


def pairs(settings: PairCSVSettings) -> None:
    """Import a verification set of your own: pairs of images that a CSV file lists."""
    required(settings, "csv")
    _import_pairs(read_pair_csv(str(settings.csv), settings.root), "pairs", str(settings.csv), settings)


def synthetic(settings: SyntheticSettings) -> None:
    """Draw synthetic faces: a training set and verification sets of other identities."""
    for name, described in prepare_synthetic(settings).items():
        print(f"{settings.output}/{name}: {described['images']:,} images of {described['identities']:,} identities")


def weights(settings: WeightsSettings) -> None:
    """Turn a network of others into a checkpoint to evaluate, export or start training from."""
    required(settings, "input", "output")
    models.checkpoints.check_checkpoint_path(str(settings.output))
    suffix = Path(str(settings.input)).suffix.lower()
    is_graph, inputs = suffix in (".onnx", ".json"), ["input_mean", "input_scale", "input_order"]
    refuse_ignored(settings, ["backbone"], not is_graph, "a state dict as --input")
    refuse_ignored(settings, inputs, is_graph, "an ONNX network or a graph model as --input")
    if is_graph:
        with tempfile.TemporaryDirectory() as folder:
            network = Path(str(settings.input))
            if suffix == ".json":
                network = Path(folder) / "network.onnx"
                runtimes.tfjs_conversion.write_tfjs_as_onnx(Path(str(settings.input)), network)
            scaling = settings.input_mean, settings.input_scale, settings.input_order
            model, difference = runtimes.onnx_conversion.convert_and_compare(str(network), *scaling)
        kind = "an ONNX network" if suffix == ".onnx" else "a graph model of TensorFlow.js"
        name = f"{kind}, whose embeddings it has to {difference:.0e},"
    else:
        model, name = models.convert_insightface(str(settings.input), settings.backbone), settings.backbone
    models.save_checkpoint(model, str(settings.output))
    what = f"{name} with {model.count_params():,} weights from {settings.input}"
    print(f"{settings.output}: {what}, embeddings of length {model.output_shape[-1]}")


def verify(settings: VerifySettings) -> int:
    """Read a stored set again, all of it, and tell what is damaged."""
    required(settings, "input")
    faults = list(data.integrity.find_faults(str(settings.input)))
    print(f"{settings.input}: {f'{len(faults):,} faults' if faults else 'whole'}")
    return 1 if faults else 0


def mend(settings: VerifySettings) -> None:
    """Let other images of the same person stand for those of a stored set that can no longer be read."""
    required(settings, "input")
    stand_ins = data.mending.mend_set(str(settings.input))
    print(f"{settings.input}: {f'{len(stand_ins):,} images mended' if len(stand_ins) else 'every image can be read'}")


def photos(settings: PhotosSettings) -> None:
    """Find the faces of a folder of photos, align them, and store them for training, a gallery or a benchmark."""
    embed = None
    if settings.model:
        refuse_ignored(settings, ["model"], settings.face == AGREED, f"--face={AGREED}")
        embed = functools.partial(
            evaluation.embed_images, evaluation.load_embedding_model(settings.model), name="faces"
        )
    _print_stored(prepare_photos(settings, embed=embed), str(settings.output))
    sheets = [Path(str(settings.output)) / name for name in SHEETS]
    print(f"look at {' and '.join(str(sheet) for sheet in sheets if sheet.is_file())}")


def align(settings: AlignSettings) -> None:
    """Find and align the faces of all images below a folder, and write them under the same names."""
    counts = align_folder(settings)
    written = counts.pop("written")
    left_out = ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing"
    print(f"{written:,} aligned faces in {settings.output}; left out: {left_out}")


_IMPORTS = (photos, align, recordio, folder, csv, cfp, scface, bin, lfw, cfp_pairs, pairs)
COMMANDS = command.by_name(*_IMPORTS, synthetic, weights, verify, mend)

if __name__ == "__main__":
    command.run_subcommands(COMMANDS)
