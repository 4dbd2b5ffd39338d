"""Lists of the structure of IJB-C, of any size, and embeddings for them: generated, for tests and benchmarks."""

import dataclasses
from typing import Optional

import numpy as np

from ddl_tf.protocols.ijb import IJB, TemplateList, TemplatePairs

_CHUNK = 8192


@dataclasses.dataclass(frozen=True)
class IJBSize:
    """How large a generated set is; by default as IJB-C.

    There are fewer templates, those of both galleries (each of another subject) and of the probes, than images. Genuine
    and impostor pairs are of a gallery template and a probe; each probe is in one genuine pair at most.
    """

    images: int = 469_375
    gallery: int = 3_531
    probes: int = 19_593
    genuine: int = 19_557
    impostors: int = 15_638_932


def generate_ijb(size: IJBSize, seed: int = 0) -> IJB:
    """Generate the lists of a set without images.

    Templates are of one image to some hundred, medias of one frame to some dozen.

    Example:
        >>> len(generate_ijb(IJBSize(400, 10, 50, 50, 300)).pairs.same)
        350
    """
    rng = np.random.default_rng([seed, 1])
    count = size.gallery + size.probes
    # As in IJB, the numbers of templates have gaps.
    numbers = np.sort(rng.choice(3 * count, count, replace=False)).astype(np.int32) + 1
    share = rng.gamma(0.5, size=count)
    images = 1 + rng.multinomial(size.images - count, share / share.sum())
    templates = np.repeat(numbers, images)
    medias = np.cumsum(rng.random(size.images) < 0.35).astype(np.int32)
    subjects = np.concatenate([np.arange(size.gallery), rng.integers(0, size.gallery, size.probes)]).astype(np.int32)
    first_half = (size.gallery + 1) // 2
    galleries = [
        TemplateList(name, numbers[part], subjects[part])
        for name, part in (("G1", slice(first_half)), ("G2", slice(first_half, size.gallery)))
    ]
    probes = TemplateList("probes", numbers[size.gallery :], subjects[size.gallery :])
    return IJB(
        "generated",
        [],
        [f"{image + 1}.jpg" for image in range(size.images)],
        templates,
        medias,
        rng.uniform(0.1, 1, size.images).astype(np.float32),
        _draw_pairs(size, numbers[: size.gallery], probes, rng),
        galleries,
        probes,
    )


def _draw_pairs(size: IJBSize, gallery: np.ndarray, probes: TemplateList, rng: np.random.Generator) -> TemplatePairs:
    mates = np.sort(rng.choice(size.probes, size.genuine, replace=False))
    firsts, seconds = [gallery[probes.subjects[mates]]], [probes.templates[mates]]
    each, more = divmod(size.impostors, size.gallery)
    for subject in range(size.gallery):
        others = np.flatnonzero(probes.subjects != subject)
        chosen = np.sort(rng.choice(others, each + (subject < more), replace=False))
        firsts.append(np.full(len(chosen), gallery[subject]))
        seconds.append(probes.templates[chosen])
    first = np.concatenate(firsts)
    return TemplatePairs(first, np.concatenate(seconds), np.arange(len(first)) < size.genuine)


def generate_views(ijb: IJB, dim: int, seed: int = 0, out: Optional[np.ndarray] = None) -> np.ndarray:
    """Generate embeddings of the images of a generated set and of their mirror images: `[images, 2, dim]` float32.

    Each subject is a direction; templates and images stray from it, some far, so that no rate is 0 or 1 for long. Norms
    are between 5 and 30. `out`, such as a memory map, is written to if it is given.
    """
    rng = np.random.default_rng([seed, 2])
    lists = [*ijb.galleries, *([ijb.probes] if ijb.probes else [])]
    subject_of = {
        template: subject
        for faces in lists
        for template, subject in zip(faces.templates.tolist(), faces.subjects.tolist())
    }
    ids, template = np.unique(ijb.templates, return_inverse=True)
    subject = np.array([subject_of[template] for template in ids.tolist()])
    scale = 1 / np.sqrt(dim)
    centres = rng.normal(0, scale, [subject.max() + 1, dim]).astype(np.float32)[subject]
    centres += rng.uniform(0.3, 2.5, [len(ids), 1]) * rng.normal(0, scale, centres.shape)
    views = np.empty([len(template), 2, dim], np.float32) if out is None else out
    for start in range(0, len(template), _CHUNK):
        part = template[start : start + _CHUNK]
        image = centres[part] + rng.standard_normal([len(part), dim], np.float32) * scale
        pair = image[:, np.newaxis] + rng.standard_normal([len(part), 2, dim], np.float32) * (0.3 * scale)
        norm = rng.uniform(5, 30, [len(part), 1, 1]) / np.linalg.norm(image, axis=1)[:, np.newaxis, np.newaxis]
        views[start : start + len(part)] = pair * norm
    return views
