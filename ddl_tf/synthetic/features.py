"""The features of a drawn face, painted on the skin: eyes, brows, mouth, beard, spots, and the nose on it."""

import numpy as np

from ddl_tf.synthetic.canvas import EVERYWHERE, Canvas, bump, clip01, texture, tinted


def draw_features(canvas: Canvas) -> None:
    """Paint all features on the canvas' face, those beneath first."""
    _skin(canvas)
    _beard(canvas)
    for side in (-1, 1):
        _eye(canvas, side)
        _brow(canvas, side)
    _mouth(canvas)
    _nose(canvas)


def _skin(canvas: Canvas) -> None:
    traits = canvas.traits
    red, green, blue = traits.skin
    flushed = (min(255.0, red * 1.04 + 8), green * 0.78, blue * 0.8)
    for side in (-1, 1):
        box, x, y = canvas.near(side * 0.42, 0.34, 0.4)
        canvas.paint_face(box, bump(x, y, 0.28, 0.22) * np.float32(0.15 + 0.5 * traits.blush), flushed)
        # The eyes lie in hollows, and a fold runs from the nose to the mouth's corner.
        box, x, y = canvas.near(side * traits.eye_spacing, traits.eye_y - 0.02, 0.4)
        canvas.darken_face(box, 1 - np.float32(0.16) * bump(x, y, 0.3, 0.2))
        fold = max(0.0, traits.age - 0.3) * 0.24 + 0.06 * max(0.0, canvas.conditions.smile)
        box, x, y = canvas.near(side * 0.27, 0.5, 0.3)
        line = canvas.stroke(x * side - np.float32(0.4) * y + np.float32(0.6) * y * y, 0.016)
        canvas.darken_face(box, 1 - np.float32(fold) * line * bump(x, y, 0.3, 0.2))
    if traits.age > 0.6:
        box, x, y = canvas.near(0.0, -0.36, 0.4)
        for height in (-0.05, 0.04):
            line = canvas.stroke(y - np.float32(height) - np.float32(0.15) * x * x, 0.01)
            canvas.darken_face(box, 1 - np.float32(0.5 * (traits.age - 0.6)) * line * bump(x, y, 0.36, 0.3))
    if traits.freckles:
        box, x, y = canvas.near(0.0, 0.25, 0.6)
        grain = texture(x + np.float32(traits.freckle_place), y + np.float32(traits.freckle_place), 2.2, 2.2)
        spots = clip01((grain - np.float32(0.35)) * np.float32(4)) * np.minimum(1, 1.6 * bump(x, y, 0.62, 0.36))
        canvas.paint_face(box, spots * np.float32(0.7 * traits.freckles), (red * 0.72, green * 0.58, blue * 0.48))
    for x0, y0, radius in traits.moles:
        box, x, y = canvas.near(x0, y0, radius)
        spot = canvas.solid(np.float32(radius) - np.sqrt(x * x + y * y))
        # A spot smaller than a pixel is fainter.
        faint = min(1.0, (2 * radius / float(canvas.pixel)) ** 2)
        canvas.paint_face(box, spot * np.float32(0.9 * faint), (red * 0.38, green * 0.28, blue * 0.26))


def _eye(canvas: Canvas, side: int) -> None:
    traits, seen = canvas.traits, canvas.conditions
    box, x, y = canvas.near(side * traits.eye_spacing, traits.eye_y, 0.3)
    width, height = traits.eye_width, traits.eye_height
    out = x * np.float32(side / width)
    inside = np.maximum(0, 1 - out * out)
    level = y + out * np.float32(traits.eye_tilt * width)
    # The lids are two arcs; the upper one may peak towards either corner.
    arc = inside * (np.float32(1.35) - np.float32(0.35) * inside)
    upper = -arc * np.float32(height) * (1 + np.float32(0.3 * traits.eye_corner) * out) * np.float32(seen.eye_open)
    lower = arc * np.float32(height * (0.62 - 0.12 * max(0.0, seen.smile)))
    within = (np.abs(out) < 1).astype(np.float32)
    ball = canvas.solid(np.minimum(level - upper, lower - level)) * within
    canvas.paint_face(box, ball, (230.0, 226.0, 220.0))
    gaze_x, gaze_y = 0.05 * seen.gaze_x, 0.03 * seen.gaze_y - 0.008
    across, down = x - np.float32(gaze_x), y - np.float32(gaze_y)
    from_iris = np.sqrt(across * across + down * down)
    iris = np.float32(traits.eye_iris)
    canvas.paint_face(box, ball * canvas.solid(iris - from_iris), tinted(traits.eye_colour, 0.55))
    canvas.paint_face(box, ball * canvas.solid(iris * np.float32(0.82) - from_iris), traits.eye_colour)
    canvas.paint_face(box, ball * canvas.solid(iris * np.float32(0.45) - from_iris), (16.0, 14.0, 16.0))
    glint = bump(across + np.float32(0.024), down + np.float32(0.026), 0.034, 0.034)
    canvas.paint_face(box, ball * np.minimum(1, 1.6 * glint), (255.0, 255.0, 255.0))
    # The upper lid throws a shadow on the ball.
    canvas.darken_face(box, 1 - np.float32(0.25) * ball * clip01(1 - (level - upper) / np.float32(0.05)))
    thick = np.float32(0.014 + 0.014 * traits.lash) * (1 + np.float32(0.35) * out)
    lashes = canvas.solid(thick - np.abs(level - upper)) * (np.abs(out) < 1.08).astype(np.float32)
    canvas.paint_face(box, lashes * np.float32(0.92), (34.0, 26.0, 26.0))
    canvas.paint_face(box, canvas.stroke(level - lower, 0.007) * within * np.float32(0.5), tinted(traits.skin, 0.5))
    crease = canvas.stroke(level - upper + np.float32(0.042), 0.009) * (np.abs(out) < 0.95)
    canvas.paint_face(box, crease * np.float32(0.75 * traits.eye_crease), tinted(traits.skin, 0.55))


def _brow(canvas: Canvas, side: int) -> None:
    traits, seen = canvas.traits, canvas.conditions
    height = traits.eye_y - traits.brow_gap - 0.03 * seen.brow_raise
    box, x, y = canvas.near(side * (traits.eye_spacing + 0.01), height, 0.34)
    out = x * np.float32(side / traits.brow_length)
    arch = np.float32(traits.brow_arch) * (1 - out * out)
    frown = -0.035 * min(0.0, seen.brow_raise)
    tilt = np.float32(traits.brow_tilt * traits.brow_length + frown) * out
    # Thick at the nose, thin at the temple.
    thick = np.float32(traits.brow_thickness) * (1 - np.float32(0.45) * np.maximum(0, out)) * (np.abs(out) < 1)
    brow = canvas.solid(thick - np.abs(y + arch + tilt)) * clip01((1 - np.abs(out)) * np.float32(5))
    hairs = np.float32(0.85) + np.float32(0.15) * texture(x, y, 4.0, 1.0)
    canvas.paint_face(box, brow * hairs, traits.brow_colour)


def _mouth(canvas: Canvas) -> None:
    traits, seen = canvas.traits, canvas.conditions
    width = traits.mouth_width * (1 + 0.14 * seen.smile)
    opening = 0.1 * seen.mouth_open
    box, x, y = canvas.near(0.0, traits.mouth_y, 0.45)
    out = x * np.float32(1 / width)
    inside = np.maximum(0, 1 - out * out)
    within = (np.abs(out) < 1).astype(np.float32)
    # Smiling lifts the corners.
    level = y + (np.float32(0.055 * seen.smile + traits.mouth_curve)) * (out * out - np.float32(0.4))
    notch = 1 - np.float32(traits.lip_bow) * np.maximum(0, 1 - np.abs(out) * np.float32(3.2))
    upper = level + np.float32(traits.upper_lip + opening * 0.5) * inside * notch
    lower = np.float32(traits.lower_lip + opening) * inside * (np.float32(1.2) - np.float32(0.2) * inside) - level
    canvas.darken_face(box, 1 - np.float32(0.2) * bump(x, y - np.float32(traits.lower_lip + 0.07 + opening), 0.2, 0.07))
    canvas.paint_face(box, canvas.solid(upper) * canvas.solid(lower) * within, traits.lip_colour)
    shine = bump(x, y - np.float32(0.6 * traits.lower_lip + opening), 0.5 * width, 0.03)
    canvas.paint_face(box, shine * np.float32(0.22), (255.0, 225.0, 220.0))
    if opening > 0.012:
        gap_top, gap_bottom = level + np.float32(opening * 0.45) * inside, np.float32(opening) * inside - level
        gap = canvas.solid(np.minimum(gap_top, gap_bottom)) * (np.abs(out) < 0.92)
        canvas.paint_face(box, gap, (70.0, 24.0, 28.0))
        teeth = gap * canvas.solid(np.float32(0.35 * opening) - level) * inside
        canvas.paint_face(box, teeth, (240.0, 236.0, 226.0))
    else:
        line = canvas.stroke(level - np.float32(0.004), 0.009) * (np.abs(out) < 1.03)
        canvas.paint_face(box, line * np.float32(0.85), tinted(traits.lip_colour, 0.45))


def _beard(canvas: Canvas) -> None:
    traits = canvas.traits
    if traits.beard == "none":
        return
    x, y = canvas.face_x, canvas.head.y
    away = np.abs(x)
    mouth = np.float32(traits.mouth_y)
    moustache = np.float32(0.055) * (1 - away * away * np.float32(14))
    moustache -= np.abs(y - mouth + np.float32(0.085) - np.float32(0.6) * away * away)
    chin = np.float32(0.24) - np.sqrt(x * x + (y - np.float32(0.88)) ** 2 * np.float32(1.1))
    # A full beard runs from the sideburns under the cheeks and leaves the lips free.
    cheeks = y - np.float32(0.62) + np.float32(0.62) * away * away
    distance = np.maximum({"moustache": moustache, "goatee": chin}.get(traits.beard, cheeks), moustache)
    strength = 0.34 if traits.beard == "stubble" else 0.9
    grain = texture(x, y, 3.0, 2.0)
    mask = clip01((distance + np.float32(0.02) * grain) / np.float32(0.06) + np.float32(0.5))
    mask *= np.float32(strength) * (np.float32(0.88) + np.float32(0.12) * grain)
    canvas.paint_face(EVERYWHERE, mask, tinted(traits.brow_colour, 1.15))


def _nose(canvas: Canvas) -> None:
    """The nose stands out of the face: a tapered ridge to a ball with two wings, seen with the head's turn."""
    traits, camera = canvas.traits, canvas.camera
    tip_y = traits.eye_y + traits.nose_length
    _, root_y, root_z = canvas.profile.at(0.0, traits.eye_y - 0.04)
    front = canvas.profile.at(0.0, tip_y)[2]
    root = (0.0, root_y, root_z - 0.5 * traits.nose_bridge)
    tip = (0.0, tip_y - traits.nose_upturn, front + traits.nose_projection - traits.nose_tip)
    wings = [(side * traits.nose_width * 0.72, tip_y + 0.015, front + 0.01) for side in (-1, 1)]
    box = camera.box([root, tip, *wings], 0.12)
    x, y = camera.x[box], camera.y[box]

    (x0, y0, _), (x1, y1, _) = camera.project(root), camera.project(tip)
    run_x, run_y = x1 - x0, y1 - y0
    from_x, from_y = x - np.float32(x0), y - np.float32(y0)
    along = from_x * np.float32(run_x) + from_y * np.float32(run_y)
    along = clip01(along / np.float32(run_x * run_x + run_y * run_y))
    radius = np.float32(traits.nose_bridge) + along * along * np.float32(traits.nose_tip - traits.nose_bridge)
    off_x, off_y = from_x - along * np.float32(run_x), from_y - along * np.float32(run_y)
    distance = radius - np.sqrt(off_x * off_x + off_y * off_y)
    wing_radius = np.float32(0.48 * traits.nose_width)
    wing_line = np.zeros_like(x)
    for (wing_x, wing_y, _), side in zip(map(camera.project, wings), (-1, 1)):
        across, down = x - np.float32(wing_x), y - np.float32(wing_y)
        from_wing = wing_radius - np.sqrt(across * across + down * down)
        rim = canvas.stroke(from_wing, 0.012) * clip01(across * np.float32(side * 18) + np.float32(0.1))
        # The far wing hides behind the ridge.
        if side * camera.sin_yaw < 0.35:
            wing_line = np.maximum(wing_line, rim)
            distance = np.maximum(distance, from_wing)
    mask = canvas.solid(distance)

    normal_x, normal_y = off_x / radius, off_y / radius
    normal_z = np.sqrt(np.maximum(np.float32(0.05), 1 - normal_x * normal_x - normal_y * normal_y))
    sin, cos = np.float32(camera.sin_yaw), np.float32(camera.cos_yaw)
    lit = canvas.lit(normal_x * cos - normal_z * sin, normal_y, normal_x * sin + normal_z * cos)
    cover, shade = canvas.cover[box], canvas.shade[box]
    canvas.paint_face(box, mask * clip01(along * np.float32(4)), traits.skin)
    # Inside the face the nose's own light fades in from its flanks; outside of the silhouette it is all there is.
    light = clip01(distance / np.float32(0.05)) * clip01(along * np.float32(1.6)) * np.float32(0.8)
    light = np.maximum(light, mask * (1 - cover))
    shade += light * (lit * np.float32(1.03) - shade)
    shade *= 1 - np.float32(0.2) * wing_line
    np.maximum(cover, mask, out=cover)
    canvas.cover[box] = cover

    for side in (-1, 1):
        if side * camera.sin_yaw > 0.3:
            continue
        middle = (side * 0.45 * traits.nose_width, tip_y + 0.05 - 0.5 * traits.nose_upturn, front + 0.07)
        hole_x, hole_y, _ = camera.project(middle)
        hole = bump(x - np.float32(hole_x), y - np.float32(hole_y), 0.055, 0.03)
        canvas.paint_face(box, np.minimum(1, hole * np.float32(1.5)) * np.float32(0.6), tinted(traits.skin, 0.35))
    under, x, y = canvas.near(0.0, tip_y + 0.1, 0.2)
    canvas.darken_face(under, 1 - np.float32(0.18) * bump(x, y, 0.16, 0.08))
