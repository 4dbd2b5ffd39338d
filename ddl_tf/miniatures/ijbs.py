"""A small IJB-S of synthetic faces: the protocols of the release, and crops in the layout of AdaFace."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.miniatures import write_file, write_lines
from ddl_tf.synthetic.faces import render

SUBJECTS = 16
# Videos: of each how many frames a subject has; two are of drones. The first ones are enrolled, a subject in one.
_VIDEOS = {"5001": 4, "5002": 6, "5003": 3, "5004": 5, "6001": 2}
_ENROLLED, _DRONES = ("5001", "5002"), ("6001",)
_PHOTOS = 3
# Where the face is, in the further columns, which the public script needs and does not read.
_BOX = "40,30,22,28"
_SIZE = 112


def write_ijbs(folder: Path, seed: int = 0) -> None:
    """Write `IJBS`: 16 subjects, half of them in either gallery, 5 videos, and 3 photos of each for enrolment.

    The crops in `aligned_112` have 112 pixels, but the frames of videos show far fewer.
    """
    root = folder / "IJBS"
    metadata: list[str] = []
    galleries: dict[str, list[list[str]]] = {kind: [[], []] for kind in ("single", "booking", "surveillance")}
    for subject in range(1, SUBJECTS + 1):
        half = int(subject > SUBJECTS // 2)
        photos = [f"img/{100 * subject + number}.jpg" for number in range(1, _PHOTOS + 1)]
        for number, photo in enumerate(photos):
            crop = root / "aligned_112" / f"{subject}" / photo.replace("/", "_")
            write_file(crop, encode_jpeg(_face(subject, number, seed)))
            metadata.append(f"{subject},{photo},{_BOX}")
            galleries["booking"][half].append(f"{1000 + subject},{subject},{photo},{_BOX}")
        galleries["single"][half].append(f"{2000 + subject},{subject},{photos[0]},{_BOX}")
        for video, frame in _frames(subject):
            crop = root / "aligned_112" / f"{subject}" / f"videos_{video}_{frame}.jpg"
            write_file(crop, encode_jpeg(_from_afar(_face(subject, frame, seed), video)))
            metadata.append(f"{subject},videos/{video}.mp4,{_BOX}")
        enrolled = _ENROLLED[subject % len(_ENROLLED)]
        galleries["surveillance"][half].append(f"{3000 + subject},{subject},videos/{enrolled}.mp4,{_BOX}")
    protocols = root / "protocols"
    header = "SUBJECT_ID,FILENAME,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
    write_lines(protocols / "ijbs_metadata.csv", [header, *metadata])
    probes = {
        "surveillance_to_single-booking": [video for video in _VIDEOS if video not in _DRONES],
        "surveillance_to_surveillance": [v for v in _VIDEOS if v not in _ENROLLED and v not in _DRONES],
        "uav_to_single-booking": list(_DRONES),
    }
    for name, videos in probes.items():
        files = [f"videos/{video}.mp4" for video in videos]
        write_lines(protocols / f"ijbs_{name}_probe.csv", ["FILENAME", *files])
    for kind, halves in galleries.items():
        for number, rows in enumerate(halves, 1):
            path = protocols / "galleries" / f"ijbs_surveillance_to_{kind}_g{number}.csv"
            write_lines(path, [f"TEMPLATE_ID,{header}", *rows])


def _frames(subject: int) -> Iterator[tuple[str, int]]:
    """The frames in which a subject is seen; nobody is seen in all videos but those of the galleries."""
    for place, (video, count) in enumerate(_VIDEOS.items()):
        if video in _ENROLLED or (subject + place) % 4:
            yield from ((video, 100 * place + frame) for frame in range(1, count + 1 + subject % 2))


def _face(subject: int, image: int, seed: int) -> Image.Image:
    return Image.fromarray(render(subject, image, seed, _SIZE)[0])


def _from_afar(face: Image.Image, video: str) -> Image.Image:
    """See a face with the few pixels that a camera has for it, and cut it out as large as the others."""
    pixels = 10 if video in _DRONES else int(12 + np.sum(list(video.encode())) % 8)
    small = face.resize((pixels, pixels), Image.Resampling.BOX)
    stored = Image.open(io.BytesIO(encode_jpeg(small, 70)))
    return stored.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
