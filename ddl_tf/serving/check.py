"""A server's answers beside those of the SavedModel, or the network, that it shall serve."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.client.client import BYTES, IMAGES, SEARCH, VERIFY, Client
from ddl_tf.client.errors import ServingError
from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.serving.description import read_description
from ddl_tf.serving.network_reference import NetworkReference
from ddl_tf.synthetic.faces import synthetic_samples

IMAGES_PER_IDENTITY = 4

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass
class Compared:
    """The answers of a signature in both places: the largest difference of a float, and how many others differ."""

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
        self.path = path
        if not (Path(path) / "saved_model.pb").is_file():
            raise InputError(f"{path}: no saved_model.pb there; give a version folder")
        try:
            self.saved = tf.saved_model.load(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"{path}: cannot be loaded ({error}); export it again") from None
        self.signatures: list[str] = sorted(self.saved.signatures)
        if not {IMAGES, BYTES} <= set(self.signatures):
            names = ", ".join(self.signatures)
            raise InputError(f"{path} has the signatures {names}: give one of `python -m ddl_tf.export`")
        threshold = read_description(path)["threshold"]
        self.threshold: Optional[float] = threshold and threshold["value"]

    def inputs(self, signature: str, faces: list[bytes]) -> tuple[Arrays, Arrays]:
        """What to send: arrays with a row for each face, and arrays that go with every batch."""
        pixels = np.stack([decode_image(face) for face in faces])
        if signature == IMAGES:
            return {"image": pixels}, {}
        # One row that cannot be decoded, among others that can; signatures of old exports have no `valid`.
        has_valid = "valid" in self.saved.signatures[signature].structured_outputs
        encoded = np.array([*faces[:-1], b"not an image"] if has_valid else faces, object)
        if signature == VERIFY:
            return {"first": encoded, "second": np.roll(encoded, 1)}, {}
        if signature == SEARCH:
            gallery = self.run(IMAGES, {"image": pixels})["embedding"]
            return {"image_bytes": encoded}, {"gallery": gallery, "k": np.array(min(3, len(faces)), np.int32)}
        return {"image_bytes": encoded}, {}

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run a signature here: name -> array, bytes as `object`."""
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        return {name: value.numpy() for name, value in self.saved.signatures[signature](**tensors).items()}


AnyReference = Union[Reference, NetworkReference]


def _decisions(reference: AnyReference, inputs: Arrays, answer: Arrays, wanted: Arrays, tolerance: float) -> int:
    """Count the outputs other than embeddings and similarities that differ, but for ties."""
    count = 0
    for name in (name for name, array in wanted.items() if array.dtype.kind != "f"):
        differ = answer[name] != wanted[name]
        if name == "same" and reference.threshold is not None:
            differ &= np.abs(wanted["similarity"] - reference.threshold) > tolerance
        if name == "index":
            embedding = reference.run(BYTES, {"image_bytes": inputs["image_bytes"]})["embedding"]
            index = np.clip(answer["index"], 0, len(inputs["gallery"]) - 1)
            similarity = np.take_along_axis(embedding @ inputs["gallery"].T, index, axis=1)
            differ &= np.abs(similarity - wanted["similarity"]) > tolerance
        count += int(np.sum(differ))
    return count


def _compare(reference: AnyReference, result: Compared, inputs: Arrays, answer: Arrays, tolerance: float) -> None:
    wanted = reference.run(result.signature, inputs)
    for name, array in sorted(wanted.items()):
        shape = list(answer[name].shape) if name in answer else "nothing"
        if shape != list(array.shape):
            result.refused = f"BAD_ANSWER: output {name!r} is {shape}, not {list(array.shape)}"
            return
    for name, array in wanted.items():
        if array.dtype.kind == "f":
            # What is no number differs by any measure.
            gap = np.nan_to_num(np.abs(answer[name] - array), nan=np.inf)
            result.difference = max(result.difference, float(np.max(gap, initial=0.0)))
    result.decisions += _decisions(reference, inputs, answer, wanted, tolerance)
    result.rows += len(next(iter(inputs.values())))


def compare_signatures(
    client: Client, reference: AnyReference, images: int, batch: int, tolerance: float
) -> list[Compared]:
    """Send synthetic faces through every signature, and compare the server's answers with those that are made here."""
    identities = -(-images // IMAGES_PER_IDENTITY)
    faces = [sample.image for sample in synthetic_samples(identities, IMAGES_PER_IDENTITY)][:images]
    (embedding,) = reference.run(IMAGES, reference.inputs(IMAGES, faces[:1])[0])["embedding"]
    if not np.isclose(np.linalg.norm(embedding), 1, atol=1e-3):
        # Otherwise nothing would be compared with nothing.
        raise InputError(f"{reference.path} gives no embedding of unit norm for a face: export it again")
    results = [Compared(signature) for signature in reference.signatures]
    with Progress("compare", total=len(results) * len(faces)) as progress:
        for result in results:
            rows, shared = reference.inputs(result.signature, faces)
            for start in range(0, len(faces), batch):
                inputs = {**{name: array[start : start + batch] for name, array in rows.items()}, **shared}
                began = time.perf_counter()
                try:
                    answer = client.predict(result.signature, inputs)
                except ServingError as error:
                    result.refused = str(error)
                    break
                result.seconds.append(time.perf_counter() - began)
                _compare(reference, result, inputs, answer, tolerance)
                if result.refused:
                    break
                progress.advance(min(batch, len(faces) - start))
    return results
