"""Export a trained model as a SavedModel, in the layout that TensorFlow Serving takes.

    python -m ddl_tf.export --model=runs/ddl --name=faces

writes saved_models/faces/1 (then 2, 3, ...) with the signatures `serving_default`, for uint8 RGB images,
`serving_bytes`, for encoded ones, and `search`, for encoded ones and a gallery. It loads without ddl_tf. With

    --evaluation=evaluations/ddl --threshold_set=lfw --far=1e-3

it has `verify` too, which decides whether two images show one person, at the threshold of that evaluation.
"""

import dataclasses
from pathlib import Path
from typing import Optional

from ddl_tf import evaluation, serving
from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting
from ddl_tf.models.model_choice import find_checkpoint


@dataclasses.dataclass
class ExportSettings:
    """What to export, and where to."""

    model: str = setting("", "A .keras checkpoint, or the folder of a training run (its best checkpoint).")
    name: str = setting("", "The name that the model is served by.")
    output: str = setting("saved_models", "The folder of all exported models.")
    flip: bool = setting(False, "Add the embedding of the mirrored image, at twice the cost.")
    evaluation: Optional[str] = setting(
        None, "A stored evaluation of this model (`python -m ddl_tf.evaluate ... --store`), for card and threshold."
    )
    threshold_set: Optional[str] = setting(
        None,
        "The set of pairs in --evaluation, with the --flip of the export, to choose the threshold of `verify` on; "
        "without it there is no `verify`.",
    )
    far: Optional[float] = setting(None, "The false accept rate that the threshold may have there, such as 1e-3.")
    search: bool = setting(
        True, "Include `search`; leave it out for a server that batches requests, which cannot run it."
    )
    server_path: str = setting("/models", "Where the server sees --output, for models.config.")


def _threshold(settings: ExportSettings, checkpoint: Path) -> Optional[serving.Threshold]:
    if settings.evaluation is not None:
        serving.check_evaluated(settings.evaluation, checkpoint)
        if settings.threshold_set is not None and settings.far is not None:
            threshold = serving.choose_threshold(settings.evaluation, settings.threshold_set, settings.far)
            serving.check_same_model(threshold, checkpoint, settings.flip)
            return threshold
    for name, value in (("threshold_set", settings.threshold_set), ("far", settings.far)):
        if value is not None:
            raise InputError(f"--{name}={value}: a threshold takes --evaluation, --threshold_set and --far")
    return None


def main(settings: ExportSettings) -> None:
    """Export a model."""
    required(settings, "model", "name")
    checkpoint = find_checkpoint(settings.model)
    threshold = _threshold(settings, checkpoint)
    model = evaluation.model.load_checkpoint_embedding(settings.model)
    served = (settings.name, settings.output, settings.flip, threshold, settings.search)
    path = str(serving.export_model(model, *served, str(checkpoint.resolve()), settings.evaluation))
    print(path, *serving.describe_signatures(path), sep="\n")
    size, norms = serving.graph_size(path), serving.read_description(path)["batch_norms"]
    folded = f"{norms['folded']} batch norms folded, {norms['kept']} kept"
    print(f"{size.bytes / 1e6:,.1f} MB, {size.operations:,} operations; {folded}")
    if threshold:
        print(
            f"verify: same from a similarity of {threshold.value:.4f} on, where {threshold.set} has a false accept "
            f"rate of {threshold.evaluation['far']:.2g} (asked for {threshold.far:g})"
        )
    print(f"model card: {path}/assets.extra/model_card.md")
    print("for the server:", *serving.write_server_files(settings.output, settings.server_path))
    print(f"saved_model_cli show --dir {path} --all")


if __name__ == "__main__":
    command.run(main, ExportSettings)
