"""What makes a drawn face who it is: the traits of an identity; shapes do not depend on the colour of skin or hair.

In head units the head reaches from y = -1 (crown) to y = 1 (chin); x points to the image's right, z to the viewer.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

Colour = tuple[float, float, float]


def _colours(text: str) -> np.ndarray:
    return np.array([list(bytes.fromhex(colour)) for colour in text.split()], np.float64)


# From light to deep; a skin tone lies anywhere between neighbours.
SKIN_TONES = _colours("faddc8 f0c8a8 e2b28a cb956c aa7350 86563c 6a4432 56382c")
HAIR_COLOURS = _colours("1e1a1c 3a2820 5c3c28 805432 7a3420 b25c30 cea462 a09c9a e0deda")
# How often each hair colour goes with the lightest and with the deepest skin.
HAIR_SHARES = np.array(
    [(0.08, 0.18, 0.2, 0.14, 0.08, 0.08, 0.14, 0.06, 0.04), (0.55, 0.2, 0.06, 0.02, 0.02, 0.01, 0.02, 0.08, 0.04)]
)
EYE_COLOURS = _colours("302018 543622 78562e 687a46 4e789c 70808c")
EYE_SHARES = np.array([(0.12, 0.24, 0.14, 0.16, 0.22, 0.12), (0.62, 0.28, 0.06, 0.02, 0.01, 0.01)])


@dataclasses.dataclass(frozen=True)
class Hair:
    """A hair style: a shell around the head and where it ends.

    `top` and `side` are the thickness above the crown and at the sides, `length` the y down to which the sides reach,
    `fringe` how far the hair hangs below the hairline, `sweep` its slant, `opening` the cosine of the angle from the
    nose where the sides begin. `curl` is from 0 (straight) to 1, `bun` a radius (0: none), `density` the opacity.
    """

    top: float = 0.1
    side: float = 0.05
    length: float = 0.2
    fringe: float = 0.0
    sweep: float = 0.0
    opening: float = 0.3
    curl: float = 0.0
    bun: float = 0.0
    density: float = 1.0


HAIR_STYLES = {
    "bald": Hair(top=0.0, side=0.0, density=0.0),
    "buzz": Hair(top=0.03, side=0.02, length=0.1, opening=0.25, density=0.75),
    "short": Hair(top=0.12, side=0.05, length=0.15, opening=0.22),
    "side part": Hair(top=0.16, side=0.06, length=0.12, fringe=0.1, sweep=0.35, opening=0.25),
    "quiff": Hair(top=0.27, side=0.04, length=0.1, opening=0.2, curl=0.2),
    "short fringe": Hair(top=0.13, side=0.08, length=0.3, fringe=0.26, opening=0.3),
    "short curls": Hair(top=0.22, side=0.12, length=0.2, opening=0.25, curl=1.0, fringe=0.05),
    "afro": Hair(top=0.3, side=0.28, length=0.45, opening=0.2, curl=0.9),
    "bob": Hair(top=0.13, side=0.13, length=0.85, fringe=0.12, sweep=0.25, opening=0.5),
    "bob with fringe": Hair(top=0.14, side=0.14, length=0.75, fringe=0.3, opening=0.48),
    "long": Hair(top=0.11, side=0.12, length=1.7, sweep=0.2, fringe=0.05, opening=0.45),
    "long waves": Hair(top=0.15, side=0.2, length=1.6, sweep=0.3, fringe=0.1, opening=0.45, curl=0.6),
    "long with fringe": Hair(top=0.12, side=0.12, length=1.7, fringe=0.3, opening=0.5),
    "bun": Hair(top=0.06, side=0.02, length=0.2, opening=0.2, bun=0.3),
}
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square")
FRAMES = _colours("222024 6e4628 96969e 78282c 283c6e")


@dataclasses.dataclass(frozen=True)
class Traits:
    """The traits of an identity; lengths in head units, colours 0..255 RGB."""

    skin: Colour
    hair_colour: Colour
    brow_colour: Colour
    eye_colour: Colour
    lip_colour: Colour
    hair_style: str
    hair: Hair
    hairline: float
    hair_peak: float
    hair_recession: float
    head_width: float
    head_depth: float
    crown_power: float
    jaw_power: float
    jaw_taper: float
    cheek: float
    chin: float
    eye_y: float
    eye_spacing: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    eye_corner: float
    eye_iris: float
    eye_crease: float
    lash: float
    brow_gap: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_length: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_tip: float
    nose_projection: float
    nose_upturn: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_bow: float
    mouth_curve: float
    ear_size: float
    ear_protrusion: float
    ear_y: float
    neck: float
    blush: float
    age: float
    beard: str
    beard_length: float
    glasses: str
    glasses_size: float
    glasses_colour: Colour
    freckles: float
    freckle_place: float
    moles: tuple[tuple[float, float, float], ...]


def clipped_colour(values: np.ndarray) -> Colour:
    """A colour that keeps clear of pure black and white."""
    red, green, blue = np.clip(values, 4, 252).tolist()
    return red, green, blue


def _pick(rng: np.random.Generator, names: Sequence[str], shares: Sequence[float]) -> str:
    return names[int(rng.choice(len(names), p=np.array(shares) / np.sum(shares)))]


def _moles(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Moles on the cheeks, nose and forehead: (x, y, radius) of each."""
    count = int(rng.choice(4, p=[0.5, 0.3, 0.15, 0.05]))
    return tuple(map(tuple, rng.uniform((-0.5, -0.1, 0.016), (0.5, 0.75, 0.03), (count, 3)).tolist()))


@functools.lru_cache(maxsize=1024)
def draw_traits(identity: int, seed: int = 0) -> Traits:
    """Draw the traits of an identity; always the same for the same numbers."""
    rng = np.random.default_rng([seed, identity])

    def normal(mean: float, deviation: float) -> float:
        # Cut at two deviations: nobody is a caricature.
        return float(mean + deviation * np.clip(rng.normal(), -2, 2))

    depth = rng.uniform(0, 1)
    place = depth * (len(SKIN_TONES) - 1)
    below = min(int(place), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[below] + (place - below) * (SKIN_TONES[below + 1] - SKIN_TONES[below])
    skin = skin * np.array([normal(1, 0.015), normal(1, 0.02), normal(1, 0.035)])
    hair = HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=HAIR_SHARES[0] * (1 - depth) + HAIR_SHARES[1] * depth)]
    hair = hair * normal(1, 0.1) + rng.uniform(-6, 6, 3)
    eyes = EYE_COLOURS[rng.choice(len(EYE_COLOURS), p=EYE_SHARES[0] * (1 - depth) + EYE_SHARES[1] * depth)]
    rose = np.array([200, 90, 95]) * (0.55 + 0.45 * (1 - depth))
    lips = skin * normal(0.62, 0.1) + rose * 0.3

    # One latent number makes features that often go together go together.
    build, age = rng.uniform(0, 1), rng.uniform(0, 1)
    shares = [0.3 + 0.9 * build * age, 1, 1.2, 1.2, 0.9, 0.8, 1, 0.9, 1.1, 0.8, 1.1, 1.1, 0.8, 1.1]
    style = _pick(rng, list(HAIR_STYLES), shares)
    base = HAIR_STYLES[style]
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    shell = dataclasses.replace(
        base,
        top=base.top * normal(1, 0.2),
        side=base.side * normal(1, 0.2),
        length=base.length + normal(0, 0.07),
        fringe=base.fringe * normal(1, 0.2),
        sweep=base.sweep * side * normal(1, 0.3),
        opening=base.opening + normal(0, 0.06),
    )
    beard = _pick(rng, BEARDS, [1, 0.6 * build**2, 0.3 * build**2, 0.4 * build**2, 0.8 * build**2])
    return Traits(
        skin=clipped_colour(skin),
        hair_colour=clipped_colour(hair),
        brow_colour=clipped_colour(hair * 0.55 + skin * 0.12),
        eye_colour=clipped_colour(eyes * normal(1, 0.1)),
        lip_colour=clipped_colour(lips),
        hair_style=style,
        hair=shell,
        hairline=normal(-0.56, 0.055),
        hair_peak=normal(0.02, 0.035),
        hair_recession=max(0.0, normal(0.06, 0.06) + 0.08 * age * build),
        head_width=normal(0.735, 0.04) + 0.02 * build,
        head_depth=normal(0.84, 0.03),
        crown_power=normal(2.35, 0.18),
        jaw_power=normal(2.2, 0.3) + 0.35 * build,
        jaw_taper=normal(0.2, 0.07) - 0.08 * build,
        cheek=normal(0.02, 0.025),
        chin=normal(0.02, 0.03),
        eye_y=normal(0.0, 0.035),
        eye_spacing=normal(0.315, 0.024),
        eye_width=normal(0.158, 0.016),
        eye_height=normal(0.078, 0.014),
        eye_tilt=normal(0.07, 0.09),
        eye_corner=normal(0.0, 0.35),
        eye_iris=normal(0.072, 0.005),
        eye_crease=rng.uniform(0, 1),
        lash=normal(0.55, 0.2) - 0.25 * build,
        brow_gap=normal(0.19, 0.03),
        brow_thickness=normal(0.032, 0.008) + 0.014 * build,
        brow_arch=normal(0.05, 0.028) - 0.02 * build,
        brow_tilt=normal(0.03, 0.08),
        brow_length=normal(0.2, 0.02),
        nose_length=normal(0.4, 0.04),
        nose_width=normal(0.125, 0.024),
        nose_bridge=normal(0.05, 0.012),
        nose_tip=normal(0.082, 0.014),
        nose_projection=normal(0.17, 0.04),
        nose_upturn=normal(0.0, 0.03),
        mouth_y=normal(0.62, 0.03),
        mouth_width=normal(0.24, 0.03),
        upper_lip=normal(0.058, 0.014),
        lower_lip=normal(0.078, 0.016),
        lip_bow=normal(0.35, 0.16),
        mouth_curve=normal(0.0, 0.035),
        ear_size=normal(0.2, 0.025),
        ear_protrusion=max(0.02, normal(0.075, 0.025)),
        ear_y=normal(0.08, 0.04),
        neck=normal(0.42, 0.04) + 0.08 * build,
        blush=rng.uniform(0, 0.5),
        age=age,
        beard=beard,
        beard_length=rng.uniform(0.02, 0.12),
        glasses=_pick(rng, GLASSES, [0.76, 0.12, 0.12]),
        glasses_size=normal(0.22, 0.02),
        glasses_colour=clipped_colour(FRAMES[rng.integers(len(FRAMES))]),
        freckles=rng.uniform(0.4, 1) if rng.uniform() < 0.18 else 0.0,
        freckle_place=rng.uniform(0, 1),
        moles=_moles(rng),
    )
