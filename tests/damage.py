"""Damaged files: a seeded supply of them, and the rule that every reader keeps.

A reader refuses a damaged file by a FileError that names it, or what it returns is in
order; it never ends in another error.
"""

import io
import json
import warnings
import zipfile
from collections import Counter

import numpy as np

from synaptax.runs import FileError

SAMPLE, ALL = 40, 10_000
_VALUES = [
    *(None, True, -1, 0, 1e30, "", "nan", [], {}, [[]], 10**400, "x" * 300, 0.5),
    *(float("nan"), float("-inf"), {"a": {"b": None}}, [1, "2"], 2**63, -0.0),
]


def bytes_changed(rng, whole):
    """Return bytes with some flipped, cut, put in, taken out or put elsewhere."""
    data, kind = bytearray(whole), rng.integers(6)
    place = int(rng.integers(len(data)))
    length = int(rng.integers(1, 300))
    if kind == 0:
        for at in rng.integers(len(data), size=rng.integers(1, 9)):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place:place] = rng.bytes(length)
    elif kind == 4:
        data[place : place + length] = bytes(length)
    else:
        other = int(rng.integers(len(data)))
        data[place : place + length] = data[other : other + length]
    return bytes(data)


def json_changed(rng, whole):
    """Return JSON text (or one of its lines) with one value or name another one."""
    if rng.integers(3) == 0:
        return bytes_changed(rng, whole)
    lines = whole.splitlines(keepends=True) if b"\n{" in whole else [whole]
    at = int(rng.integers(len(lines)))
    value = json.loads(lines[at])
    holders = [(None, None)]

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            holders.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(value)
    node, key = holders[rng.integers(len(holders))]
    new = _VALUES[rng.integers(len(_VALUES))]
    if node is None:
        value = new
    elif isinstance(node, dict) and rng.integers(3) == 0:
        node[f"{key}x" if rng.integers(2) else "more"] = node.pop(key)
    else:
        node[key] = new
    lines[at] = json.dumps(value).encode() + b"\n"
    return b"".join(lines)


def arrays_changed(rng, whole):
    """Return an archive with one array of another shape, dtype or name, or missing."""
    if rng.integers(2):
        return bytes_changed(rng, whole)
    with np.load(io.BytesIO(whole)) as file:
        arrays = dict(file)
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays.pop(name)
    kind = rng.integers(6)
    if kind == 0:
        arrays[f"{name}/more"] = array
    elif kind == 1:
        arrays[name] = array.astype("O" if rng.integers(2) else "c16")
    elif kind == 2:
        arrays[name] = array[..., None]
    elif kind == 3 and array.dtype.kind == "f":
        arrays[name] = np.full_like(array, np.nan)
    elif kind == 4:
        arrays[name] = array.ravel()[:-1]
    file = io.BytesIO()
    save = np.savez if rng.integers(2) else np.savez_compressed
    save(file, **arrays)
    if kind == 5:
        with zipfile.ZipFile(file, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name that is there twice
            archive.writestr(archive.namelist()[0], rng.bytes(50))
    return file.getvalue()


def survey(path, read, *, damage, count, in_order=lambda value: None, seed=0):
    """Damage a file ``count`` times, read it each time, and say what came of it.

    Args:
        path: the file, which is left whole.
        read: reads it, or what holds it.
        damage: one of the functions above.
        count: of the damages.
        in_order: raises for a value that ``read`` should not have returned.
        seed: of the first damage.

    Returns:
        How many were "refused" and how many "harmless".
    """
    whole, came = path.read_bytes(), Counter()
    try:
        for number in range(seed, seed + count):
            path.write_bytes(damage(np.random.default_rng(number), whole))
            try:
                value = read()
            except FileError as error:
                assert str(path) in str(error), f"damage {number}: {error}"
                came["refused"] += 1
                continue
            except Exception as error:
                raise AssertionError(f"damage {number}: {error!r}") from error
            in_order(value)
            came["harmless"] += 1
    finally:
        path.write_bytes(whole)
    return came
