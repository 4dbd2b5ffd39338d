"""Export a trained model as a SavedModel, in the layout that TensorFlow Serving takes.

    python -m ddl_tf.export --model=runs/ddl --name=faces

writes saved_models/faces/1 (then 2, 3, ...) with the signatures `serving_default`, for uint8 RGB images, and
`serving_bytes`, for encoded ones. It loads without ddl_tf.
"""

import dataclasses

from ddl_tf import command
from ddl_tf.evaluation.model import load_checkpoint_embedding
from ddl_tf.serving import describe_signatures, export_model
from ddl_tf.settings import required, setting


@dataclasses.dataclass
class ExportSettings:
    """What to export, and where to."""

    model: str = setting("", "A .keras checkpoint, or the folder of a training run (its best checkpoint).")
    name: str = setting("", "The name that the model is served by.")
    output: str = setting("saved_models", "The folder of all exported models.")
    flip: bool = setting(False, "Add the embedding of the mirrored image, at twice the cost.")


def main(settings: ExportSettings) -> None:
    """Export a model."""
    required(settings, "model", "name")
    path = export_model(load_checkpoint_embedding(settings.model), settings.name, settings.output, settings.flip)
    print(path)
    print(*describe_signatures(str(path)), sep="\n")
    print(f"saved_model_cli show --dir {path} --all")


if __name__ == "__main__":
    command.run(main, ExportSettings)
