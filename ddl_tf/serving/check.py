"""A server's answers beside those of the SavedModel that it shall serve."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.client.client import BYTES, IMAGES, SEARCH, VERIFY, Client
from ddl_tf.client.errors import ServingError
from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.serving.export import read_description
from ddl_tf.synthetic.faces import synthetic_samples

IMAGES_PER_IDENTITY = 4
NEAREST = 3
NO_IMAGE = b"not an image"

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass
class Compared:
    """The answers of a signature in both places.

    Attributes:
        rows: how many were compared.
        difference: the largest difference of a number of an embedding or similarity.
        decisions: how many of the other outputs differ (valid, same, index).
        seconds: of each request.
        refused: the server's error if it did not answer.
    """

    signature: str
    rows: int = 0
    difference: float = 0.0
    decisions: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)
    refused: str = ""

    def agrees(self, tolerance: float) -> bool:
        """Return whether the server answered, and nothing differs by more than a tolerance."""
        return not self.refused and self.decisions == 0 and self.difference <= tolerance


class Reference:
    """A SavedModel as a server would run it."""

    def __init__(self, path: str) -> None:
        if not (Path(path) / "saved_model.pb").is_file():
            raise InputError(f"--saved_model={path}: no saved_model.pb there; give a version folder")
        try:
            self._saved = tf.saved_model.load(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"--saved_model={path}: cannot be loaded ({error}); export it again") from None
        self.signatures: list[str] = sorted(self._saved.signatures)
        if not {IMAGES, BYTES} <= set(self.signatures):
            raise InputError(
                f"--saved_model={path} has the signatures {', '.join(self.signatures)}, not {IMAGES} and {BYTES}: "
                "give an export of `python -m ddl_tf.export`"
            )
        threshold = read_description(path)["threshold"]
        self.threshold: Optional[float] = threshold and threshold["value"]

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run a signature here: name -> array, bytes as `object`."""
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        return {name: value.numpy() for name, value in self._saved.signatures[signature](**tensors).items()}

    def has_valid(self, signature: str) -> bool:
        """Return whether a signature says which rows it could decode."""
        return "valid" in self._saved.signatures[signature].structured_outputs


def _faces(count: int) -> list[bytes]:
    identities = -(-count // IMAGES_PER_IDENTITY)
    return [sample.image for sample in synthetic_samples(identities, IMAGES_PER_IDENTITY)][:count]


def _pixels(encoded: list[bytes]) -> np.ndarray:
    return np.stack([decode_image(one) for one in encoded])


def _inputs(reference: Reference, signature: str, faces: list[bytes]) -> tuple[Arrays, Arrays]:
    """What to send: arrays with a row for each face, and arrays that go with every batch."""
    if signature == IMAGES:
        return {"image": _pixels(faces)}, {}
    # One row that cannot be decoded, among others that can.
    encoded = np.array([*faces[:-1], NO_IMAGE] if reference.has_valid(signature) else faces, object)
    if signature == VERIFY:
        return {"first": encoded, "second": np.roll(encoded, 1)}, {}
    if signature == SEARCH:
        gallery = reference.run(IMAGES, {"image": _pixels(faces)})["embedding"]
        return {"image_bytes": encoded}, {"gallery": gallery, "k": np.array(min(NEAREST, len(faces)), np.int32)}
    return {"image_bytes": encoded}, {}


def _largest(given: np.ndarray, wanted: np.ndarray) -> float:
    # What is no number differs by any measure.
    return float(np.max(np.nan_to_num(np.abs(given - wanted), nan=np.inf), initial=0.0))


def _other_neighbours(reference: Reference, inputs: Arrays, given: Arrays, wanted: Arrays, tolerance: float) -> int:
    """Count found rows that are others, and not as near."""
    embedding = reference.run(BYTES, {"image_bytes": inputs["image_bytes"]})["embedding"]
    similarity = embedding @ inputs["gallery"].T
    index = np.clip(given["index"], 0, len(inputs["gallery"]) - 1)
    gap = np.abs(np.take_along_axis(similarity, index, axis=1) - wanted["similarity"])
    return int(np.sum((given["index"] != wanted["index"]) & (gap > tolerance)))


def _decisions(
    reference: Reference, signature: str, inputs: Arrays, given: Arrays, wanted: Arrays, tolerance: float
) -> int:
    """Count the outputs other than embeddings and similarities that differ, but for ties."""
    count = 0
    for name, array in wanted.items():
        if array.dtype.kind == "f":
            continue
        if name == "index":
            count += _other_neighbours(reference, inputs, given, wanted, tolerance)
            continue
        differ = given[name] != array
        if name == "same" and reference.threshold is not None:
            differ &= np.abs(wanted["similarity"] - reference.threshold) > tolerance
        count += int(np.sum(differ))
    return count


def _compare(
    reference: Reference, result: Compared, inputs: Arrays, given: Arrays, seconds: float, tolerance: float
) -> None:
    wanted = reference.run(result.signature, inputs)
    for name, array in sorted(wanted.items()):
        shape = list(given[name].shape) if name in given else "nothing"
        if name not in given or given[name].shape != array.shape:
            result.refused = f"BAD_ANSWER: output {name!r} is {shape}, not {list(array.shape)}"
            return
    floats = [name for name, array in wanted.items() if array.dtype.kind == "f"]
    result.difference = max([result.difference, *(_largest(given[name], wanted[name]) for name in floats)])
    result.decisions += _decisions(reference, result.signature, inputs, given, wanted, tolerance)
    result.rows += len(next(iter(inputs.values())))
    result.seconds.append(seconds)


def compare_signatures(client: Client, path: str, images: int, batch: int, tolerance: float) -> list[Compared]:
    """Send synthetic faces through every signature of a SavedModel, and compare the server's answers with its own.

    A decision on a similarity that is within `tolerance` of the threshold, or of another neighbour's, is not counted.
    """
    reference, faces = Reference(path), _faces(images)
    (embedding,) = reference.run(BYTES, {"image_bytes": np.array(faces[:1], object)})["embedding"]
    if not np.isclose(np.linalg.norm(embedding), 1, atol=1e-3):
        # Otherwise nothing would be compared with nothing.
        raise InputError(f"--saved_model={path} gives no embedding of unit norm for a face: export it again")
    results = [Compared(signature) for signature in reference.signatures]
    with Progress("compare", total=len(results) * len(faces)) as progress:
        for result in results:
            for inputs in _batches(*_inputs(reference, result.signature, faces), batch):
                began = time.perf_counter()
                try:
                    given = client.predict(result.signature, inputs)
                except ServingError as error:
                    result.refused = str(error)
                    break
                seconds = time.perf_counter() - began
                _compare(reference, result, inputs, given, seconds, tolerance)
                if result.refused:
                    break
                progress.advance(len(next(iter(inputs.values()))))
    return results


def _batches(rows: Arrays, shared: Arrays, batch: int) -> Iterator[dict[str, Any]]:
    count = len(next(iter(rows.values())))
    for start in range(0, count, batch):
        yield {**{name: array[start : start + batch] for name, array in rows.items()}, **shared}
