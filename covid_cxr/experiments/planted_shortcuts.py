"""Which probe sees which shortcut, how strong, and how often none that is not there.

Command: ``python -m covid_cxr.experiments.planted_shortcuts --data-dir DIR`` (the NIH
sample, in the reduced layout). Radiographs get classes by patient at random, so that
nothing tells them, and one class is planted with a shortcut at the stored size:

- rates: 100 draws of classes with nothing planted, and 10 each with noise, blur,
  sharpening and JPEG: in how many a probe raises an alarm;
- real: sixteen shortcuts at three strengths, in about 100 and 300 radiographs;
- phantom: the same in synthetic ones of 256 pixels, and four that only those have.

Parts take up where they were stopped. About ten minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from covid_cxr.benchmarks.shortcuts import PLANTED, STRENGTHS, planted
from covid_cxr.bias import metadata_only, of_data, spectra, variants
from covid_cxr.bias.acquisition import COLUMNS, acquired, acquisition
from covid_cxr.bias.linear import pixels, probe
from covid_cxr.bias.types import Probe
from covid_cxr.experiments import RECORDED
from covid_cxr.images import square
from covid_cxr.images.radiograph import Radiograph
from covid_cxr.index import Index, order
from covid_cxr.phantom import Cohort, Hospital, generate
from covid_cxr.sources import build, read
from synaptax import runs

NAME = "planted_shortcuts"
SIDE, STORED, PHANTOMS = 64, 256, 200
DRAWS, EACH = 100, 10
SIZES = (100, 300)  # radiographs of the table
#: What must be seen, and one that need not: shortcut and its strength.
RATES = (
    ("noise", 2),
    ("blur", 2),
    ("sharpening", 2),
    ("JPEG", 2),
    ("blur", 1),
)
#: Only anatomy and tables hold these: the trait, and how closely it follows the class.
TRAITS = {"view": "view", "exposure": "intensity", "body": "body"}
TIED = (0.3, 0.6, 0.9)


def classes(index: Index, seed: int, count: int | None = None) -> np.ndarray:
    """Return (n,) of 0 and 1, dealt among patients at random; -1 beyond ``count``.

    Args:
        index: the table.
        seed: another seed, another deal.
        count: radiographs to use; default: all.
    """
    people, member = np.unique(index.patient, return_inverse=True)
    place = np.empty(len(people), int)
    place[order(people.tolist(), seed)] = np.arange(len(people))
    label = (place[member] % 2).astype(int)
    if count is not None:  # whole patients, until there are enough
        last = np.sort(place[member])[count - 1]
        label[place[member] > last] = -1
    return label


def recorded(probes: Sequence[Probe]) -> dict[str, Any]:
    """Return what a table needs of probes: value, ends, and whether it fires."""
    return {
        one.name: [
            *(round(float(x), 3) for x in one.found[:3]),
            bool(one.fires),
            bool(one.alarm),
        ]
        for one in probes
    }


class Shown(NamedTuple):
    """Radiographs as probes get them.

    Attributes:
        images: (n, SIDE, SIDE) float32 in [0, 1].
        files: (n, COLUMNS), the detail at the stored size.
    """

    images: np.ndarray
    files: np.ndarray


def shown(images: Sequence[np.ndarray]) -> Shown:
    """Return 8-bit images as probes get them."""
    grey = [image.astype(np.float32) / 255 for image in images]
    files = np.stack([acquired(Radiograph(x, 8, frozenset())) for x in grey])
    small = np.stack([square(x, SIDE) for x in grey])
    return Shown(np.clip(small, 0, 1), files)


def asked(
    index: Index, label: np.ndarray, data: Shown, lungs: Any = None
) -> dict[str, Any]:
    """Put all probes of data to those radiographs that have a class."""
    used = np.flatnonzero(label >= 0)
    some = None if lungs is None else lungs[used]
    images, files = data.images[used], data.files[used]
    probes = of_data(index.select(used), label[used], images, some, files=files)
    return {"images": int(used.size), "probes": recorded(probes)}


def alarms(index: Index, label: np.ndarray, data: Shown) -> dict[str, Any]:
    """Put those probes of data that may raise an alarm, of one source, no lungs."""
    border = pixels(variants.radiographs_of(data.images, None)["border_only"])
    probes = [
        metadata_only(index, label),
        probe("linear, border only", index, border, label),
        *spectra.texture(index, label, data.images)[1:],
        *acquisition(index, label, data.files),
    ]
    return {"images": len(index), "probes": recorded(probes)}


class Planted:
    """Radiographs of one set, plain and with one shortcut."""

    def __init__(self, index: Index, images: list[np.ndarray]) -> None:
        """Keep the stored images; reduce the plain ones."""
        self.index, self.images, self.plain = index, images, shown(images)

    def changed(self, name: str, strength: int, rows: Any) -> Shown:
        """Return all, and those of some rows with a shortcut."""
        some = [planted(name, strength, self.images[k], int(k)) for k in rows]
        new, out = shown(some), Shown(*(part.copy() for part in self.plain))
        out.images[rows], out.files[rows] = new
        return out


def rates(real: Planted) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield the draws of the alarm rates by name, to be measured when called."""
    for seed in range(DRAWS):
        yield (
            f"rates|nothing|{seed}",
            lambda seed=seed: alarms(real.index, classes(real.index, seed), real.plain),
        )
    for name, strength in RATES:
        cache: list[Shown] = []

        def draw(name: str, strength: int, held: list[Shown], seed: int) -> Any:
            if not held:  # made once for all draws
                held.append(real.changed(name, strength, range(len(real.index))))
            label = classes(real.index, seed)
            rows = np.flatnonzero(label == 1)
            data = Shown(*(part.copy() for part in real.plain))
            data.images[rows], data.files[rows] = (part[rows] for part in held[0])
            return alarms(real.index, label, data)

        for seed in range(EACH):
            key = f"rates|{name}, {STRENGTHS[strength]}|{seed}"
            yield key, lambda a=(name, strength, cache, seed): draw(*a)


def table(
    part: str, of: Planted, sizes: Sequence[int], label: np.ndarray | None, lungs: Any
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield every shortcut at every strength by name, for each number of radiographs.

    Args:
        part: "real" or "phantom".
        of: the radiographs.
        sizes: how many are used.
        label: their classes; None deals them.
        lungs: (n, SIDE, SIDE) bool, or None.
    """
    for name in PLANTED:
        for strength, word in enumerate(STRENGTHS):
            cache: list[Shown] = []

            def one(name: str, strength: int, held: list[Shown], size: int) -> Any:
                deal = lambda size: classes(of.index, 0, size)
                if not held:
                    most = deal(max(sizes)) if label is None else label
                    rows = np.flatnonzero(most == 1)
                    held.append(of.changed(name, strength, rows))
                own = deal(size) if label is None else label
                return asked(of.index, own, held[0], lungs)

            for size in sizes:
                key = f"{part}, {size}|{name}|{word}"
                yield key, lambda a=(name, strength, cache, size): one(*a)


def traits() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield the shortcuts that only a phantom has."""

    def one(name: str, tied: float) -> dict[str, Any]:
        if name == "hospital":
            high, low = 0.5 + tied / 2, 0.5 - tied / 2
            marks = [{"marker": high}, {"marker": low}]
            homes = tuple(
                Hospital(n, covid=share, traits=t)
                for n, share, t in zip("ab", (high, low), marks, strict=True)
            )
            cohort = Cohort(PHANTOMS, size=SIDE, contrast=0.0, hospitals=homes)
        else:
            shortcut = {TRAITS[name]: tied}
            cohort = Cohort(PHANTOMS, size=SIDE, contrast=0.0, shortcuts=shortcut)
        phantom = generate(jax.random.key(0), cohort)
        label = phantom.index.label("covid").astype(int)
        data = Shown(phantom.images, np.full((len(label), COLUMNS), np.nan))
        return asked(phantom.index, label, data, phantom.lungs.any(axis=1))

    for name in (*TRAITS, "hospital"):
        for tied, word in zip(TIED, STRENGTHS, strict=True):
            key = f"phantom, {PHANTOMS}|{name}|{word}"
            yield key, lambda a=(name, tied): one(*a)


def phantoms() -> tuple[Planted, np.ndarray, np.ndarray]:
    """Return synthetic radiographs without a disease, their classes and their lungs."""
    cohort = Cohort(PHANTOMS, size=STORED, contrast=0.0)
    phantom = generate(jax.random.key(0), cohort)
    images = [np.rint(255 * one).astype(np.uint8) for one in phantom.images]
    lungs = np.stack(
        [square(m.astype(np.float32), SIDE) for m in np.asarray(phantom.lungs.any(1))]
    )
    label = phantom.index.label("covid").astype(int)
    return Planted(phantom.index, images), label, lungs >= 0.5


def sample(folder: Path) -> Planted:
    """Return the real radiographs, 8 bits a pixel."""
    index = build(folder, "nih").index
    pixels = (read(index, row).pixels for row in range(len(index)))
    return Planted(index, [np.rint(255 * one).astype(np.uint8) for one in pixels])


def measured(folder: Path, data: Path, parts: Sequence[str]) -> dict[str, Any]:
    """Measure what is not measured yet, and return all that is."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "measured.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    results = dict(map(json.loads, lines))
    real: list[Planted] = []

    def work() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        for part in parts:
            if part in ("rates", "real") and not real:
                real.append(sample(data))
            if part == "rates":
                yield from rates(real[0])
            elif part == "real":
                yield from table("real", real[0], SIZES, None, None)
            else:
                yield from traits()
                of, label, lungs = phantoms()
                yield from table("phantom", of, (PHANTOMS,), label, lungs)

    for key, measure in work():
        if key in results:
            continue
        core = time.process_time()
        results[key] = measure() | {"core_s": round(time.process_time() - core, 2)}
        with log.open("a") as file:
            file.write(json.dumps([key, results[key]]) + "\n")
        print(key, results[key]["core_s"], flush=True)
    return results


def alarmed(one: dict[str, Any]) -> list[str]:
    """Return the probes that raised an alarm."""
    return [name for name, (*_, fires, _) in one["probes"].items() if fires]


def record_of(done: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded: alarms by draw, and the table with its probes."""
    draws: dict[str, list[list[str]]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for key, one in done.items():
        part, name, last = key.split("|")
        if part == "rates":
            draws.setdefault(name, []).append(alarmed(one))
        else:
            rows.setdefault(part, {}).setdefault(name, {})[last] = one["probes"]
    return {
        "command": f"python -m covid_cxr.experiments.{NAME} --data-dir DIR",
        "data": "NIH ChestX-ray8 pneumonia sample; synthetic radiographs",
        "side": SIDE,
        "stored": {"real": 512, "phantom": STORED},
        "classes": "by patient at random, seeds of draws 0, 1, ...; of the table 0",
        "strengths": {name: list(sizes) for name, (_, sizes) in PLANTED.items()},
        "tied": list(TIED),
        "rates": draws,
        "table": rows,
        "probe": ["value", "low", "high", "fires", "may fire"],
        "core_s": round(sum(one["core_s"] for one in done.values()), 1),
        **runs.environment(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/planted-shortcuts"))
    parser.add_argument("--parts", nargs="*", default=["rates", "real", "phantom"])
    options = parser.parse_args(arguments)
    results = measured(options.run_dir, options.data_dir, options.parts)
    runs.write_json(RECORDED / f"{NAME}.json", record_of(results))


if __name__ == "__main__":
    main()
