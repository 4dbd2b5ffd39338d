"""How a drawn face is seen in one image; background and clothing too, so that no network tells identities by them."""

import dataclasses
from typing import Any, Optional

import numpy as np

from ddl_tf.synthetic.traits import HAIR_STYLES, Colour, clipped_colour

OCCLUDERS = ("none", "sunglasses", "mask", "cap", "hand", "bar")


@dataclasses.dataclass(frozen=True)
class Conditions:
    """How an identity is seen in one image: the nuisances, with their true strengths.

    Angles are in degrees: a positive yaw turns the nose to the image's right, a positive pitch looks up, a positive
    roll turns the head clockwise; the light's azimuth counts from the camera to the image's right. Shifts are in head
    units. The scale, `light` and `light_colour` (RGB) are about 1; `contrast` is the share of the light that has a
    direction. Smile and brow are -1 (down, frown) to 1, the gaze -1 to 1 to the right and down, mouth and eyes 0 (shut)
    to 1. `hair` is the style here (None: the identity's own), `occluder_place` where a hand or bar lies (0 to 1). The
    image is sampled down to `resolution` pixels a side and up again; `blur` is a standard deviation in percent of the
    side, `noise` one in grey levels; the seed is of the noise and of the background's pattern.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    light_azimuth: float = 0.0
    light_elevation: float = 25.0
    light: float = 1.0
    contrast: float = 0.45
    light_colour: Colour = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    smile: float = 0.2
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    eye_open: float = 1.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    wears_glasses: bool = True
    hair: Optional[str] = None
    occluder: str = "none"
    occluder_place: float = 0.5
    occluder_size: float = 0.5
    occluder_colour: Colour = (150.0, 190.0, 210.0)
    background: tuple[Colour, Colour] = ((190.0, 200.0, 205.0), (150.0, 165.0, 175.0))
    clothing: Colour = (90.0, 110.0, 140.0)
    resolution: int = 112
    blur: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 92
    seed: int = 0


def draw_conditions(identity: int, image: int, seed: int = 0, size: int = 112, hard: bool = False) -> Conditions:
    """Draw the conditions of one image of an identity; always the same for the same numbers.

    An easy image is nearly frontal, sharp and well lit. A hard one has one to three of: a large yaw, a low resolution
    (up to `size`), bad light, an occluder, a blur.
    """
    # + 1: the seed sequence pads with zeros, and [seed, identity] is the identity's own.
    rng = np.random.default_rng([seed, identity, image + 1, int(hard)])
    # Towards grey: the face is what draws the eye.
    first, second = (0.55 * rng.uniform(40, 235, 3) + 0.45 * rng.uniform(60, 225) for _ in range(2))
    common: dict[str, Any] = {
        "background": (clipped_colour(first), clipped_colour(0.6 * first + 0.4 * second)),
        "clothing": clipped_colour(rng.uniform(25, 230, 3)),
        "seed": int(rng.integers(2**31)),
        "pitch": float(rng.normal(0, 5)),
        "roll": float(rng.normal(0, 2.5)),
        "scale": float(rng.normal(1, 0.04)),
        "shift_x": float(rng.normal(0, 0.04)),
        "shift_y": float(rng.normal(0, 0.04)),
        "smile": float(rng.uniform(-0.35, 1)),
        "mouth_open": float(max(0, rng.uniform(-0.8, 0.7))),
        "brow_raise": float(rng.uniform(-0.6, 0.8)),
        "eye_open": float(rng.uniform(0.7, 1.05)),
        "gaze_x": float(rng.uniform(-0.6, 0.6)),
        "gaze_y": float(rng.uniform(-0.35, 0.35)),
        "wears_glasses": bool(rng.uniform() < 0.75),
    }
    # People change their hair; who goes by the hair alone is often wrong in hard images.
    if rng.uniform() < (0.4 if hard else 0.12):
        common["hair"] = str(rng.choice([style for style in HAIR_STYLES if style != "bald"]))
    warmth, tint = rng.normal(0, 0.07), rng.normal(0, 0.025)
    easy: dict[str, Any] = {
        "yaw": float(np.clip(rng.normal(0, 8), -18, 18)),
        "light_azimuth": float(rng.uniform(-40, 40)),
        "light_elevation": float(rng.uniform(0, 50)),
        "light": float(rng.uniform(0.82, 1.15)),
        "contrast": float(rng.uniform(0.3, 0.5)),
        "light_colour": (1 + warmth, 1 + tint, 1 - warmth),
        "saturation": float(rng.uniform(0.75, 1.15)),
        "resolution": size,
        "blur": float(rng.uniform(0, 0.4)),
        "noise": float(rng.uniform(0, 3)),
    }
    if not hard:
        return Conditions(**common, **easy)
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.45, 0.35]))
    chosen = rng.choice(5, size=count, replace=False, p=[0.3, 0.26, 0.18, 0.18, 0.08])
    easy["yaw"] = float(rng.choice([-1, 1]) * rng.uniform(45, 90) if 0 in chosen else rng.uniform(-35, 35))
    if 1 in chosen:
        easy["resolution"] = min(size, int(rng.integers(8, 17)))
    # The light of a hard image is of any colour, or there is little, so that skin and hair colours say little.
    easy["saturation"] = float(rng.uniform(0, 1))
    warmth, tint = rng.normal(0, 0.2), rng.normal(0, 0.08)
    easy["light_colour"] = (1 + warmth, 1 + tint, 1 - warmth)
    if 2 in chosen:
        easy["light"] = float(rng.uniform(0.5, 0.8))
        easy["contrast"] = float(rng.uniform(0.6, 0.85))
        easy["light_azimuth"] = float(rng.choice([-1, 1]) * rng.uniform(50, 120))
    else:
        easy["light"] = float(rng.uniform(0.65, 1.2))
    if 3 in chosen:
        common["occluder"] = OCCLUDERS[1 + int(rng.integers(len(OCCLUDERS) - 1))]
        common["occluder_place"], common["occluder_size"] = rng.uniform(size=2).tolist()
        common["occluder_colour"] = clipped_colour(rng.uniform(30, 235, 3))
    if 4 in chosen:
        easy["blur"] = float(rng.uniform(1.5, 4))
    easy["noise"] = float(rng.uniform(0, 8))
    common["pitch"] = float(rng.normal(0, 10))
    return Conditions(**common, **easy, jpeg_quality=int(rng.integers(40, 93)))
