"""Ways in which files are damaged: bytes, lines, cells, values of JSON, and what stands at the file's place."""

import json
import os
import random
from pathlib import Path
from typing import Any

# What stood in files that readers failed on: numbers beyond their type, digits that are none in ASCII, marks, controls.
WORDS = (
    *(
        "",
        "0",
        "-1",
        "1.5",
        "1e30",
        "1e999",
        "nan",
        "inf",
        "-0",
        "2147483648",
        "9223372036854775808",
        "9" * 40,
        "9" * 5000,
    ),
    *(
        "\u00b2",
        "\u0661",
        "\u202e",
        "\ufeff",
        "\0",
        "\r",
        "\t",
        "\n",
        '"',
        "'",
        ",",
        "a,b",
        "a b",
        "..",
        "/",
        "=1+1",
        "#",
    ),
    *("True", "None", "[]", "{}", "1 2 3", "caf\u00e9", "x" * 300),
)
BYTES = (
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0" * 8,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\r",
    b"\xe9",
    b"\x80\x02]q\0.",
)
_NUMBERS: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**40,
    0.5,
    1e300,
    float("nan"),
    "",
    "\u00b2",
    [],
    [[]],
    {},
)


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    """Change some bytes, cut some out, insert or repeat some."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        start = draw.randrange(len(changed) + 1)
        length = draw.choice((1, 1, 4, 8, 64, len(changed)))
        kind = draw.choice(("flip", "token", "insert", "cut", "repeat", "end"))
        if kind == "flip" and start < len(changed):
            changed[start] ^= 1 << draw.randrange(8)
        elif kind == "token":
            token = draw.choice(BYTES)
            changed[start : start + len(token)] = token
        elif kind == "insert":
            changed[start:start] = draw.choice(BYTES)
        elif kind == "cut":
            del changed[start : start + length]
        elif kind == "repeat":
            changed[start:start] = changed[start : start + length]
        elif kind == "end":
            del changed[start:]
    return bytes(changed)


def damage_text(content: str, draw: random.Random) -> bytes:
    """Change cells and lines of a list, or how its text is encoded."""
    lines = content.split("\n")
    for _ in range(draw.choice((1, 1, 2, 5))):
        place = draw.randrange(len(lines))
        kind = draw.choice(("cell", "cell", "cell", "drop", "double", "swap", "join", "empty", "word"))
        if kind == "cell":
            separator = max(",\t ", key=lines[place].count)
            cells = lines[place].split(separator)
            cells[draw.randrange(len(cells))] = draw.choice(WORDS)
            lines[place] = separator.join(cells)
        elif kind == "drop" and len(lines) > 1:
            del lines[place]
        elif kind == "double":
            lines.insert(place, lines[place])
        elif kind == "swap":
            other = draw.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif kind == "join":
            lines[place : place + 2] = [" ".join(lines[place : place + 2])]
        elif kind == "empty":
            lines.insert(place, "")
        elif kind == "word":
            lines.insert(place, draw.choice(WORDS))
    text = draw.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines)
    encoding = draw.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, errors="replace")


def damage_json(value: Any, draw: random.Random) -> bytes:
    """Change one value of a JSON file, or the name or presence of one."""
    holders = list(_holders(value))
    if not holders:
        return json.dumps(draw.choice(_NUMBERS)).encode()
    holder, key = draw.choice(holders)
    kind = draw.choice(("value", "value", "drop", "double"))
    if kind == "value":
        holder[key] = draw.choice(_NUMBERS)
    elif kind == "drop":
        del holder[key]
    elif isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[f"{key} "] = holder.pop(key)
    return json.dumps(value).encode()


def _holders(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _holders(inner)


def damage_content(content: bytes, draw: random.Random) -> bytes:
    """Damage the content of a file as what it is: JSON, text, or bytes."""
    if draw.random() < 0.03:
        return draw.randbytes(draw.choice((0, 1, 16, 4096)))
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return damage_bytes(content, draw)
    if "\0" in text or draw.random() < 0.1:
        return damage_bytes(content, draw)
    if text.lstrip()[:1] in ("{", "[") and draw.random() < 0.9:
        try:
            return damage_json(json.loads(text), draw)
        except json.JSONDecodeError:
            return damage_text(text, draw)
    return damage_text(text, draw)


def damage_file(path: Path, draw: random.Random) -> None:
    """Damage a file: its content, or rarely what stands at its place."""
    content = path.read_bytes()
    kind = draw.random()
    if kind < 0.95:
        path.write_bytes(damage_content(content, draw))
        return
    path.unlink()
    if kind < 0.96:
        path.mkdir()
    elif kind < 0.97:
        os.mkfifo(path)
    elif kind < 0.98:
        path.symlink_to(path.name)
    elif kind < 0.99:
        path.symlink_to(path.parent)
