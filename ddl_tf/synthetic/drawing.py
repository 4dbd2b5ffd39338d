"""Draws a face: traits under conditions -> pixels, with NumPy (and Pillow for blur and scaling)."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageFilter

from ddl_tf.synthetic.canvas import Canvas, Mask, clip01, texture, tinted
from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.features import draw_features
from ddl_tf.synthetic.surface import Profile, Surface
from ddl_tf.synthetic.traits import HAIR_STYLES, Traits


def draw_face(traits: Traits, conditions: Conditions, size: int = 112) -> tuple[np.ndarray, float]:
    """Draw a face: uint8 `[size, size, 3]`, and the share of the visible head, hair too, that the occluder hides."""
    if conditions.hair is not None:
        traits = dataclasses.replace(traits, hair_style=conditions.hair, hair=HAIR_STYLES[conditions.hair])
    canvas = Canvas(traits, conditions, size)
    _background(canvas)
    shell = Profile.hair(traits).seen_by(canvas.camera)
    light = canvas.shade_of(shell)
    shows_hair = traits.hair.density > 0
    if shows_hair:
        _hair_behind(canvas, shell, light)
    _body(canvas)
    _ears(canvas, nearest=False)
    draw_features(canvas)
    for channel in range(3):
        plane = canvas.pixels[channel]
        plane += canvas.cover * (canvas.face[channel] * canvas.shade - plane)
    np.maximum(canvas.skin, canvas.cover, out=canvas.skin)
    if shows_hair:
        _hair_in_front(canvas, shell, light)
    _ears(canvas, nearest=True)
    np.maximum(canvas.person, canvas.skin, out=canvas.person)
    if traits.glasses != "none" and conditions.wears_glasses and conditions.occluder != "sunglasses":
        _glasses(canvas, dark=False)
    hidden = _occlude(canvas, shell, light)
    share = float((hidden * canvas.person).sum() / max(1.0, float(canvas.person.sum())))
    return _photograph(canvas), share


def _background(canvas: Canvas) -> None:
    rng = np.random.default_rng(canvas.conditions.seed)
    turn, offset = rng.uniform(-1, 1, 2), rng.uniform(0, 1, 2)
    x, y = canvas.camera.x, canvas.camera.y
    place = clip01(x * np.float32(turn[0]) + y * np.float32(turn[1]) + np.float32(0.5))
    scale = float(rng.uniform(0.08, 0.3))
    place = place + np.float32(0.35) * texture(x + np.float32(offset[0]), y + np.float32(offset[1]), scale, scale)
    for channel, (low, high) in enumerate(zip(*np.array(canvas.conditions.background, np.float32))):
        canvas.pixels[channel] = low + place * (high - low)


def _body(canvas: Canvas) -> None:
    """Neck and clothing, which turn with the head only a little."""
    camera, traits = canvas.camera, canvas.traits
    x, y = camera.x + np.float32(0.12 * camera.sin_yaw), camera.y
    neck = np.float32(traits.neck) + np.float32(0.25) * np.maximum(0, y - np.float32(0.95))
    round_x = np.clip(x / neck, -1, 1)
    shade = canvas.lit(round_x, np.zeros_like(x), np.sqrt(1 - round_x * round_x))
    # The head throws a shadow on the neck.
    shade *= np.clip(np.float32(0.62) + (y - 1) * np.float32(0.6), np.float32(0.5), 1)
    canvas.paint(canvas.solid(neck - np.abs(x)) * (y > 0.35), traits.skin, shade)
    collar = np.float32(0.22) * np.maximum(0, 1 - x * x * np.float32(4))
    clothing = canvas.solid(y - np.float32(1.12) - np.float32(0.35) * x * x - collar)
    light = np.float32(canvas.conditions.light) * (1 - np.float32(0.2) * np.abs(x))
    canvas.paint(clothing, canvas.conditions.clothing, light)


def _ears(canvas: Canvas, nearest: bool) -> None:
    """The ear that faces the viewer is in front of the head, the other behind; long hair covers both."""
    hair = canvas.traits.hair
    if hair.length > 0.6 and hair.density == 1:
        return
    traits, camera = canvas.traits, canvas.camera
    for side in (-1, 1):
        if (-side * camera.sin_yaw > 0.12) != nearest:
            continue
        # A flat ellipse at the side of the head, seen broad in profile.
        tall = traits.ear_size
        middle = (side * (0.98 * traits.head_width + 0.3 * traits.ear_protrusion), traits.ear_y, -0.06)
        across = abs(camera.cos_yaw) * traits.ear_protrusion + abs(camera.sin_yaw) * 0.62 * tall
        box = camera.box([middle], 1.3 * tall)
        centre_x, centre_y, _ = camera.project(middle)
        y = (camera.y[box] - np.float32(centre_y)) / np.float32(tall)
        # The lobe is narrower than the top.
        x = (camera.x[box] - np.float32(centre_x)) / np.float32(across) * (1 + np.float32(0.25) * y)
        radius = np.sqrt(x * x + y * y)
        mask = canvas.solid((1 - radius) * np.float32(min(across, tall)))
        shade = canvas.lit(np.full_like(x, 0.7 * side), y * np.float32(0.4), np.full_like(x, 0.6))
        shade *= np.where(radius < 0.62, np.float32(0.78), np.float32(0.97))
        canvas.paint(mask, traits.skin, shade, box)
        part = canvas.skin[box]
        np.maximum(part, mask, out=part)


def _hair_behind(canvas: Canvas, shell: Surface, light: np.ndarray) -> None:
    """The inside of the hair, which is seen beside the neck, and a bun."""
    traits, hair = canvas.traits, canvas.traits.hair
    bottom = shell.y if hair.length > 1 else canvas.camera.y
    mask = canvas.solid(np.minimum(shell.edge, np.float32(hair.length + 0.25) - bottom))
    canvas.paint(mask * np.float32(hair.density), tinted(traits.hair_colour, 0.55), light)
    if hair.bun:
        camera = canvas.camera
        middle = (0.0, -1.0 - hair.top - 0.35 * hair.bun, -0.3)
        centre_x, centre_y, _ = camera.project(middle)
        box = camera.box([middle], hair.bun)
        x, y = camera.x[box] - np.float32(centre_x), camera.y[box] - np.float32(centre_y)
        ball = canvas.solid(np.float32(hair.bun) - np.sqrt(x * x + y * y))
        canvas.paint(ball, tinted(traits.hair_colour, 0.9), light[box], box)


def _hair_in_front(canvas: Canvas, shell: Surface, light: np.ndarray) -> None:
    traits, hair = canvas.traits, canvas.traits.hair
    x, y, z = shell.x, shell.y, shell.z
    away = np.abs(x)
    peak = np.maximum(0, 1 - away * np.float32(5)) * np.float32(traits.hair_peak)
    temple = np.maximum(0, 1 - np.abs(away - np.float32(0.45)) * np.float32(4)) * np.float32(traits.hair_recession)
    hairline = np.float32(traits.hairline + hair.fringe) + peak - temple * np.float32(hair.fringe < 0.2)
    hairline += np.float32(hair.sweep) * np.clip(x, np.float32(-0.5), np.float32(0.5)) * np.float32(0.8)
    above = hairline - y
    back = (np.float32(hair.opening) - z / np.float32(traits.head_depth)) * np.float32(0.8)
    below = np.float32(hair.length) + np.clip(-z, 0, np.float32(0.4)) - y
    distance = np.minimum(np.maximum(above, back), below)
    grain = texture(away - z, y, 2.0, 0.6 + hair.curl)
    distance = distance + np.float32(0.012 + 0.05 * hair.curl) * grain
    edge = shell.edge + np.float32(0.06 * hair.curl) * grain
    mask = canvas.solid(distance) * canvas.solid(edge) * np.float32(hair.density)
    strands = texture(away - z, y, 2.5 - 0.9 * hair.curl, 0.35 + 1.2 * hair.curl)
    light = light * (np.float32(0.95) + np.float32(0.16 + 0.12 * hair.curl) * strands)
    canvas.paint(mask, traits.hair_colour, light)
    np.maximum(canvas.skin, mask, out=canvas.person)
    canvas.skin *= 1 - mask


def _glasses(canvas: Canvas, dark: bool) -> Mask:
    """Frames in a plane before the eyes, with arms to the ears; dark ones hide the eyes."""
    traits, camera = canvas.traits, canvas.camera
    ahead = canvas.profile.at(0.0, traits.eye_y)[2] + 0.1
    size = max(traits.glasses_size, traits.eye_width + 0.07) + (0.03 if dark else 0.0)
    spacing, height = max(traits.eye_spacing, size + 0.03), traits.eye_y + 0.03
    # The plane turned edge-on would have no width.
    cos = math.copysign(max(abs(camera.cos_yaw), 0.18), camera.cos_yaw)
    x = (camera.x - np.float32(ahead * camera.sin_yaw)) / np.float32(cos)
    y = (camera.y + np.float32(ahead * camera.cos_yaw * camera.sin_pitch)) / np.float32(camera.cos_pitch)
    away, down = np.abs(np.abs(x) - np.float32(spacing)), np.abs(y - np.float32(height))
    if traits.glasses == "square" or (dark and traits.glasses == "none"):
        corner = np.float32(0.07)
        past_x = np.maximum(0, away - np.float32(size) + corner)
        past_y = np.maximum(0, down - np.float32(0.72 * size) + corner)
        lens = corner - np.sqrt(past_x * past_x + past_y * past_y)
    else:
        lens = np.float32(size) - np.sqrt(away * away + down * down)
    bridge = (np.abs(x) < spacing - size) * canvas.stroke(y - np.float32(height - 0.05), 0.018)
    mask = np.maximum(canvas.stroke(lens, 0.02), bridge)
    for side in (-1, 1):
        if side * camera.sin_yaw > 0.1:
            continue
        hinge = camera.project((side * (spacing + size), height - 0.05, ahead))
        end = camera.project((side * (traits.head_width + 0.03), traits.ear_y - 0.12, -0.05))
        run_x, run_y = end[0] - hinge[0], end[1] - hinge[1]
        length2 = run_x * run_x + run_y * run_y + 1e-6
        from_x, from_y = camera.x - np.float32(hinge[0]), camera.y - np.float32(hinge[1])
        along = clip01(from_x * np.float32(run_x / length2) + from_y * np.float32(run_y / length2))
        off_x, off_y = from_x - along * np.float32(run_x), from_y - along * np.float32(run_y)
        mask = np.maximum(mask, canvas.stroke(np.sqrt(off_x * off_x + off_y * off_y), 0.018))
    light = np.float32(canvas.conditions.light)
    if dark:
        mask = np.maximum(mask, canvas.solid(lens))
        canvas.paint(mask * np.float32(0.96), (26.0, 26.0, 32.0), light)
    else:
        canvas.paint(canvas.solid(lens) * np.float32(0.08), (255.0, 255.0, 255.0), light)
        canvas.paint(mask, traits.glasses_colour, light)
    return mask


def _occlude(canvas: Canvas, shell: Surface, light: np.ndarray) -> Mask:
    """Draw the occluder; returns the share of each pixel that it hides, [size, size]."""
    seen = canvas.conditions
    if seen.occluder == "none":
        return np.zeros_like(canvas.skin)
    if seen.occluder == "sunglasses":
        return _glasses(canvas, dark=True)
    if seen.occluder == "cap":
        return _cap(canvas, shell, light)
    return {"mask": _mask, "hand": _hand, "bar": _bar}[seen.occluder](canvas)


def _mask(canvas: Canvas) -> Mask:
    """A cloth mask on nose, mouth and chin."""
    traits, seen = canvas.traits, canvas.conditions
    away = np.abs(canvas.head.x)
    top = np.float32(traits.eye_y + 0.16 + 0.1 * seen.occluder_size) + np.float32(0.25) * away * away
    side = canvas.head.z / np.float32(traits.head_depth) - np.float32(0.25)
    distance = np.minimum(canvas.head.y - top, side * np.float32(0.8))
    # Outside of the head's silhouette only the nose is left, which the mask covers too.
    mask = canvas.solid(distance) * canvas.skin
    pleats = 1 - np.float32(0.12) * (np.abs(texture(np.zeros_like(away), canvas.head.y, 1.0, 0.8)) < 0.18)
    canvas.paint(mask, seen.occluder_colour, canvas.shade_of(canvas.head) * pleats)
    return mask


def _cap(canvas: Canvas, shell: Surface, light: np.ndarray) -> Mask:
    """A knitted cap over hair and forehead, with a band."""
    traits, seen = canvas.traits, canvas.conditions
    brim = np.float32(traits.eye_y - traits.brow_gap - 0.14 + 0.1 * seen.occluder_size)
    above = brim - np.minimum(0, shell.z * np.float32(0.3)) - shell.y
    mask = canvas.solid(above) * canvas.solid(shell.edge + np.float32(0.03))
    knit = np.float32(0.94) + np.float32(0.1) * texture(np.abs(shell.x) - shell.z, shell.y, 3.0, 0.2)
    band = 1 - np.float32(0.2) * (above < np.float32(0.2))
    canvas.paint(mask, seen.occluder_colour, light * knit * band)
    return mask


def _hand(canvas: Canvas) -> Mask:
    """A hand that reaches into the face from below: a palm and four fingers."""
    traits, seen, camera = canvas.traits, canvas.conditions, canvas.camera
    side = 1 if seen.occluder_place < 0.5 else -1
    lean = side * (0.25 + 0.5 * abs(seen.occluder_place - 0.5))
    cos, sin = math.cos(lean), math.sin(lean)
    across, down = camera.x - np.float32(side * 0.42), camera.y - np.float32(0.72 - 0.25 * seen.occluder_size)
    x = across * np.float32(cos) + down * np.float32(sin)
    y = down * np.float32(cos) - across * np.float32(sin)
    palm_x = np.maximum(0, np.abs(x) - np.float32(0.2))
    palm_y = np.maximum(0, np.abs(y - np.float32(0.45)) - np.float32(0.4))
    distance = np.float32(0.12) - np.sqrt(palm_x * palm_x + palm_y * palm_y)
    shade = canvas.lit(x, y * np.float32(0.3), np.full_like(x, 0.6))
    for finger, length in zip((-0.24, -0.08, 0.08, 0.24), (0.42, 0.52, 0.5, 0.36)):
        past = y - np.clip(y, np.float32(-length), np.float32(0.3))
        off = x - np.float32(finger)
        rim = np.float32(0.085) - np.sqrt(off * off + past * past)
        shade = shade * (1 - np.float32(0.25) * canvas.stroke(rim, 0.014) * (distance < rim + np.float32(0.02)))
        distance = np.maximum(distance, rim)
    mask = canvas.solid(distance)
    canvas.paint(mask, tinted(traits.skin, 0.96), shade)
    return mask


def _bar(canvas: Canvas) -> Mask:
    """Something in the way: a band across the picture."""
    seen, camera = canvas.conditions, canvas.camera
    turn = math.pi * seen.occluder_place
    across = camera.x * np.float32(math.cos(turn)) + camera.y * np.float32(math.sin(turn))
    half = np.float32(0.16 + 0.16 * seen.occluder_size)
    mask = canvas.solid(half - np.abs(across - np.float32(0.3 * math.cos(7 * turn))))
    canvas.paint(mask, seen.occluder_colour, np.float32(seen.light))
    return mask


def _photograph(canvas: Canvas) -> np.ndarray:
    """What the camera makes of the scene: tint, blur, resolution and noise; uint8 [size, size, 3]."""
    seen, size = canvas.conditions, canvas.camera.size
    pixels = canvas.pixels
    grey = pixels[0] * np.float32(0.3) + pixels[1] * np.float32(0.59) + pixels[2] * np.float32(0.11)
    pixels *= np.float32(seen.saturation)
    pixels += grey * np.float32(1 - seen.saturation)
    for channel in range(3):
        pixels[channel] *= np.float32(seen.light_colour[channel])
    np.clip(pixels, 0, 255, out=pixels)
    picture = Image.fromarray((pixels.transpose(1, 2, 0) + np.float32(0.5)).astype(np.uint8))
    if seen.blur * size / 100 > 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(seen.blur * size / 100))
    if seen.resolution < size:
        picture = picture.resize((seen.resolution, seen.resolution), Image.Resampling.BOX)
    if seen.noise:
        rng = np.random.default_rng([seen.seed, 1])
        grain = rng.standard_normal((picture.height, picture.width, 3), np.float32) * np.float32(seen.noise)
        picture = Image.fromarray(np.clip(np.asarray(picture) + grain + np.float32(0.5), 0, 255).astype(np.uint8))
    if seen.resolution < size:
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)
