"""The cells of a study: each trained and scored once, and never again.

A cell is finished when its JSON file is there; that is written last, after the
predictions. A study that is killed and started again goes on with the first unfinished
cell, inside it with the last checkpoint of its training.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from covid_cxr.index import concatenate, order
from covid_cxr.study import probes
from covid_cxr.study.config import Cell, StudyConfig
from covid_cxr.study.data import Library, library
from covid_cxr.study.leakage import mixture, tables
from covid_cxr.study.training import TRAINING, train_cell
from synaptax import runs
from synaptax.data.cache import cache_folder
from synaptax.runs.files import replacing
from synaptax.runs.reading import check_array

CONTACT = "contact.npz"  # some radiographs of each set, for the report
_SHOWN = 8  # of each class
PREPARED = "prepared"  # folder of the prepared radiographs, in the study's


def cells(config: StudyConfig) -> list[Cell]:
    """Return the cells of a study, in the order in which they are run.

    Example:
        >>> fields = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ...     "preprocessing": ["none", "equalised"],
        ... }
        >>> config = covid_cxr.study.parse(fields)
        >>> [cell.preprocessing for cell in covid_cxr.study.cells(config)]
        ['none', 'equalised']
    """
    axes = (config.encoders, config.pretrainings, config.mixes, config.preprocessing)
    return [Cell(*names) for names in itertools.product(*axes)]


def run(
    config: StudyConfig,
    folder: str | os.PathLike[str],
    *,
    report: Callable[[str], None] = lambda text: None,
    quiet: bool = True,
) -> Path:
    """Run every cell of a study that is not finished.

    Args:
        config: the study.
        folder: where its files are; a study that was begun there is taken up.
        report: told what is being done.
        quiet: show no progress of the training.

    Returns:
        The folder.

    Raises:
        ValueError: if the folder holds another study, or two parts overlap.

    Example:
        >>> config = covid_cxr.study.read(pathlib.Path("study.json"))  # doctest: +SKIP
        >>> covid_cxr.study.run(config, "runs/first")  # doctest: +SKIP
    """
    study = runs.RunFolder(Path(folder).expanduser().absolute())
    new = not study.config.exists()
    study = runs.create(folder, config, resume=True)  # kept: it holds the lock
    place = study.path
    for path in sorted((place / "cells").glob("*.json")):
        study.check_own(runs.read_json(path), path)
    todo = [cell for cell in cells(config) if not finished(place, cell.key)]
    looks = [
        (f"data~{mix}~{kind}", mix, kind)
        for mix, kind in itertools.product(config.mixes, config.preprocessing)
        if config.bias and not finished(place, f"data~{mix}~{kind}")
    ]
    if not todo and not looks:
        report("every cell is finished")
        return place
    report("loading radiographs")
    try:
        radiographs = library(config, _prepared_in(place))
        cell_tables = {  # of all cells, before anything is trained
            pair: tables(config, radiographs, *pair)
            for pair in dict.fromkeys((cell.mix, cell.pretraining) for cell in todo)
        }
    except (OSError, ValueError):
        if new:  # nothing was learnt by this config: mended, it may begin here
            study.config.unlink()
        raise
    (place / "cells").mkdir(exist_ok=True)
    with replacing(place / CONTACT) as file:
        np.savez_compressed(file, **_contact(radiographs))  # pyright: ignore
    runs.write_json(place / "sets.json", radiographs.described)
    for number, cell in enumerate(todo, start=1):
        report(f"cell {number} of {len(todo)} to do: {', '.join(cell)}")
        own = cell_tables[cell.mix, cell.pretraining]
        label = config.pretrainings[cell.pretraining].names[0]
        data = radiographs.for_cell(own, cell.preprocessing, label)
        scores, record = train_cell(config, place, cell, data, quiet=quiet)
        record["overlaps_let_pass"] = own.overlaps
        target = path_of(place, cell.key)
        with replacing(target.with_suffix(".npz")) as file:
            np.savez_compressed(file, **scores)  # pyright: ignore
        runs.write_json(target, study.own(record))
        shutil.rmtree(place / TRAINING, ignore_errors=True)
    for key, mix, kind in looks:
        report(f"probes of {mix}, {kind}")
        whole = concatenate(list(mixture(config, radiographs, mix).values()))
        record = probes.of_mix(radiographs.select(whole, kind))
        runs.write_json(path_of(place, key), study.own(runs.jsonable(record)))
    shutil.rmtree(place / PREPARED, ignore_errors=True)
    return place


def _contact(held: Library) -> dict[str, np.ndarray]:
    """Return "SET/CLASS/image" (m, S, S) uint8 and "SET/CLASS/row" of some."""
    out = {}
    for name, table in held.whole.items():
        for label in (1, 0):
            rows = np.flatnonzero(table.label("covid") == label)
            sample = rows[order(table.uid[rows].tolist(), 0)[:_SHOWN]]
            data = held.select(table.select(sample))
            kind = f"{name}/{'positive' if label else 'negative'}"
            out[f"{kind}/image"] = np.rint(255 * data.pixels()).astype(np.uint8)
            out[f"{kind}/row"] = data.row
    return out


def _prepared_in(place: Path) -> Path:
    """Return where prepared radiographs are: with the study, and gone when it is done.

    In SYNAPTAX_CACHE, if that is set, they stay, and studies share them.
    """
    if os.environ.get("SYNAPTAX_CACHE"):
        return cache_folder() / "radiographs"
    return place / PREPARED


def path_of(place: Path, key: str) -> Path:
    """Return the file that says that a cell is finished."""
    return place / "cells" / f"{key}.json"


def finished(place: Path, key: str) -> bool:
    """Say whether a cell is finished."""
    return path_of(place, key).exists()


def predictions(place: Path, key: str) -> dict[str, dict[str, np.ndarray]]:
    """Read a cell's predictions.

    Returns:
        "validation" and each test set, to "score" (S, n), "label", "patient" (a
        number, no name) and "row" (in the set's table), all (n,).

    Raises:
        FileError: naming the file and the array that is damaged.

    Example:
        >>> key = covid_cxr.study.cells(config)[0].key  # doctest: +SKIP
        >>> covid_cxr.study.predictions(folder, key)["validation"]  # doctest: +SKIP
    """
    path = path_of(place, key).with_suffix(".npz")
    arrays, out = runs.read_arrays(path), dict[str, dict[str, np.ndarray]]()
    for name in arrays:
        part, _, column = name.rpartition("/")
        out.setdefault(part, {})[column] = check_array(path, arrays, name, None)
    for part, columns in out.items():
        if "score" in columns:
            count = columns["score"].shape[-1:]
            for column in ("label", "patient", "row"):
                if column not in columns or columns[column].shape != count:
                    raise runs.FileError(f"{path}: {part}/{column}: not {count}")
    return out
