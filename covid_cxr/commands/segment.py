"""``python -m covid_cxr segment train|evaluate|apply``: where the lungs are."""

from __future__ import annotations

import csv
import dataclasses
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from covid_cxr.images.radiograph import ImageError
from covid_cxr.images.reader import read
from covid_cxr.images.resizing import resize, square
from covid_cxr.phantom import Cohort, generate
from covid_cxr.segmentation import (
    Agreement,
    Radiographs,
    SegmentConfig,
    checked,
    evaluate,
    fit,
    load,
    lungs_only,
    lungs_removed,
    predict,
    save,
)
from covid_cxr.segmentation.regions import PUBLISHED_BLUR
from covid_cxr.sources import build, has_mask
from covid_cxr.sources import load as load_radiographs
from covid_cxr.sources.base import Listing
from covid_cxr.sources.own import ENDINGS, shows
from covid_cxr.splits import assign
from synaptax.cli.options import Interrupted, parse
from synaptax.cli.terminal import printable
from synaptax.reports.tables import markdown
from synaptax.runs import RunFolder, write_json
from synaptax.runs.files import replacing

PHANTOM = "phantom"
_PHANTOM_PATIENTS = 200
_DESCRIPTION = """Train, judge or use a lung segmentation.

DATA is a folder in the layout of a public set with lung masks, or "phantom" for
synthetic radiographs. They are cut to a centred square. Masks that do not look like
two lungs are not used: the network abstains and says why.
"""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a U-Net and judge it on patients that it has not seen.

    Attributes:
        data: The radiographs.
        out: Folder for the network, its checkpoints and the report.
        test: Share of the patients held out.
        resume: Take up the interrupted training in the folder, to the same bits.
        quiet: Show no progress.
        config: How to train.
    """

    data: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DATA")]]
    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
    test: float = 0.2
    resume: bool = False
    quiet: bool = False
    config: SegmentConfig = dataclasses.field(default_factory=SegmentConfig)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Judge a trained U-Net on the radiographs of another source.

    Attributes:
        net: The folder it was trained into.
        data: The radiographs.
        json: Also write the figures to this file.
    """

    net: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="NET")]]
    data: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DATA")]]
    json: Path | None = None


@dataclasses.dataclass(frozen=True)
class Apply:
    """Write a lung mask for each radiograph in a folder, and a table of their quality.

    Attributes:
        net: The folder the U-Net was trained into.
        images: The radiographs, PNG, JPEG or DICOM; folders inside are searched too.
        out: Folder for masks and quality.csv.
        radiographs: Also write the radiographs with nothing but their lungs, or without
            them.
        blur: Softening of the lungs' edge in those radiographs, in pixels.
    """

    net: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="NET")]]
    images: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="IMAGES")]]
    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
    radiographs: Annotated[str, tyro.conf.arg(metavar="none|lungs|rest")] = "none"
    blur: float = PUBLISHED_BLUR


def main(given: Sequence[str], prog: str = "python -m covid_cxr segment") -> int:
    """Train, judge or use a lung segmentation.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code: 0.

    Raises:
        OSError: for a folder or file that cannot be read.
        ValueError: for options or radiographs that do not fit.
    """
    commands: Any = Annotated[Train, tyro.conf.subcommand("train")]
    commands |= Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    commands |= Annotated[Apply, tyro.conf.subcommand("apply")]
    options = parse(commands, given, prog, _DESCRIPTION)
    try:
        {Train: train, Evaluate: judge, Apply: apply}[type(options)](options)
    except KeyboardInterrupt as error:
        if not isinstance(options, Train) or not _begun(options.out):
            raise
        raise Interrupted(_again(options, given, prog)) from error
    return 0


def _begun(out: Path) -> bool:
    return RunFolder(out.expanduser() / "run").config.exists()


def _again(options: Train, given: Sequence[str], prog: str) -> str:
    """Return the command that goes on with a training, wherever it is typed."""
    places = {str(options.out): str(options.out.expanduser().absolute())}
    if options.data != PHANTOM:
        places[options.data] = str(Path(options.data).expanduser().absolute())
    words = [places.get(word, word) for word in given if word != "--resume"]
    return shlex.join([*prog.split(), *words, "--resume"])


def train(options: Train) -> None:
    """Train on most patients, judge on the rest, save network and report."""
    if options.resume and not _begun(options.out):
        raise ValueError(f"{options.out}: no training to go on with")
    config = options.config
    radiographs, index = radiographs_of(options.data, config.side, config.net.outputs)
    shares = {"train": 1 - options.test, "test": options.test}
    part = assign(index, shares, labels=(), by_source=False)
    sets = [
        Radiographs(radiographs.image[part == name], radiographs.mask[part == name])
        for name in shares
    ]
    trained = fit(
        config,
        *sets,
        folder=options.out / "run",
        resume=options.resume,
        quiet=options.quiet,
    )
    save(trained, options.out)
    patient = index.patient[part == "test"]
    agreement = evaluate(trained, sets[1], key=jax.random.key(0), patient=patient)
    write_json(options.out / "report.json", summary(agreement))
    _show(agreement, f"{options.data}, patients held out")


def judge(options: Evaluate) -> None:
    """Print how a network does on other radiographs."""
    net = load(options.net)
    radiographs, index = radiographs_of(options.data, net.config.side, None)
    agreement = evaluate(net, radiographs, key=jax.random.key(0), patient=index.patient)
    if options.json is not None:
        write_json(options.json, summary(agreement))
    _show(agreement, options.data)


def apply(options: Apply) -> None:
    """Write masks, the quality table, and radiographs with or without their lungs."""
    if options.radiographs not in ("none", "lungs", "rest"):
        raise ValueError(
            f"radiographs: expected none, lungs or rest, got {options.radiographs!r}"
        )
    net = load(options.net)
    if not options.images.is_dir():
        raise NotADirectoryError(f"{options.images}: no such folder")
    paths = listed(options.images, options.out)
    if not paths:
        raise ValueError(f"{options.images}: holds no image ({', '.join(ENDINGS)})")
    names = [path.relative_to(options.images).as_posix() for path in paths]
    targets = targets_of(names)
    rows = [
        _apply_one(name, target, net, options)
        for name, target in zip(names, targets, strict=True)
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("image", "used", "area", "balance", "confidence", "why_not"))
    writer.writerows(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "quality.csv") as file:
        file.write(text.getvalue().encode())
    used = sum(row[1] == "yes" for row in rows)
    print(f"{used} of {len(rows)} masks may be used; see {options.out}/quality.csv")


def listed(images: Path, out: Path | None = None) -> list[Path]:
    """Return the images of a folder: by suffix, and DICOM files that have none.

    What an earlier run wrote into ``out`` is not taken for radiographs.
    """
    files = []
    for path in (images / name for name in Listing(images).walk(".", None)):
        # A link that leads nowhere is listed too: the table says so.
        if shows(path) and (out is None or not path.is_relative_to(out)):
            files.append(path)
    return files


def targets_of(names: Sequence[str]) -> list[str]:
    """Return each radiograph's output file: its stem and .png, no two the same.

    If two would share one (a.png beside a.jpg, or A.png on a system that does not tell
    them apart), all keep their whole name before .png, which no other can have.
    """
    short = [Path(name).with_suffix(".png").as_posix() for name in names]
    if len({name.casefold() for name in short}) == len(names):
        return short
    return [f"{name}.png" for name in names]


def cell(text: str) -> str:
    """Return text that no spreadsheet runs as a formula, nor a terminal obeys."""
    text = printable(text)
    return f"'{text}" if text[:1] in "=+-@" else text


def _apply_one(name: str, target: str, net: Any, options: Apply) -> tuple[Any, ...]:
    """Segment one radiograph; return its row of the quality table."""
    path, name = options.images / name, cell(name)
    try:
        pixels = read(path).pixels
    except ImageError as error:
        return name, "no", "", "", "", error.reason
    small = square(pixels, net.config.side).astype(np.float32)
    probability = predict(net, small[None])[0]
    result = checked(probability)
    quality = result.quality
    numbers = [f"{x:.3f}" for x in (quality.area, quality.balance, quality.confidence)]
    if not quality.accepted:
        return name, "no", *numbers, "; ".join(quality.reasons)
    mask = placed(result.mask, pixels.shape)
    _write_png(options.out / "masks" / target, mask * np.uint8(255))
    if options.radiographs != "none":
        change = lungs_only if options.radiographs == "lungs" else lungs_removed
        radiograph = np.asarray(
            change(jnp.asarray(pixels), jnp.asarray(mask), options.blur)
        )
        grey = np.round(255 * radiograph).clip(0, 255).astype(np.uint8)
        _write_png(options.out / options.radiographs / target, grey)
    return name, "yes", *numbers, ""


def placed(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask of the centred square in the place it has in the whole radiograph.

    Args:
        mask: (S, S) bool.
        shape: (H, W) of the radiograph.

    Returns:
        (H, W) bool, nothing marked outside the square.
    """
    short = min(shape)
    top, left = (round((n - short) / 2) for n in shape)  # as centre_crop
    out = np.zeros(shape, bool)
    grown = np.asarray(resize(mask.astype(np.float32), (short, short))) >= 0.5
    out[top : top + short, left : left + short] = grown
    return out


def radiographs_of(
    data: str, side: int, outputs: int | None
) -> tuple[Radiographs, Any]:
    """Return radiographs with lung masks, and their table.

    Args:
        data: a folder, or "phantom".
        side: pixels a side.
        outputs: 1 for all lung, 2 for right and left; None for what there is.

    Raises:
        OSError: for a folder or table that is absent.
        ValueError: for a folder without masks.
    """
    if data == PHANTOM:
        phantom = generate(
            jax.random.key(0), Cohort(patients=_PHANTOM_PATIENTS, size=side)
        )
        whole = phantom.lungs.any(axis=1, keepdims=True)
        mask = whole if outputs == 1 else phantom.lungs
        return Radiographs(phantom.images, mask), phantom.index
    index = build(data).index
    names = ("right_lung", "left_lung") if outputs == 2 else ("lungs",)
    rows = [
        row
        for row in range(len(index))
        if all(has_mask(index, row, name) for name in names)
    ]
    if not rows:
        raise ValueError(f"{data}: no radiograph has a mask of {' and '.join(names)}")
    loaded = load_radiographs(index.select(np.array(rows)), side, masks=names)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    whole = np.all([loaded.masked[name] for name in names], axis=0)
    mask = np.stack([loaded.masks[name][whole] for name in names], axis=1)
    return Radiographs(loaded.images[whole], mask), loaded.index.select(
        np.flatnonzero(whole)
    )


def summary(found: Agreement) -> dict[str, Any]:
    """Return an agreement as JSON holds it, without names of radiographs."""
    content = found._asdict()
    del content["per_radiograph"]
    return content


def _show(found: Agreement, title: str) -> None:
    rows = [
        [name if name != "hd95" else f"hd95 ({found.unit})", one.text()]
        for name, one in found.mean.items()
    ]
    print(
        f"{printable(title)}: {found.radiographs} radiographs of {found.patients} "
        "patients\n"
    )
    print("\n".join(markdown(("measure", "mean (95 % interval)"), rows)))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("masks need Pillow: pip install 'synaptax[cxr]'") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(pixels).save(file, format="PNG")
