"""Radiographs read, equalised and moved a second, and training steps, beside the peers.

Run with ``python -m covid_cxr.benchmarks.rates``. What others are held against, where
they are installed (a peer that is not is named, never left out):

``read``
    files to floats in [0, 1]: OpenCV, scikit-image, torchvision. Ours checks the file's
    integrity, its range and its contents too.
``equalise``, ``augment``
    224x224 pixels, floats to floats: likewise. OpenCV equalises 8 bits alone, so what
    turns floats into them and back is its time too; without it is a row of its own. It
    moves images in fixed point, to a thousandth of the range.
``ResNet-18 step``, ``U-Net step``
    forward, backward and SGD, the same networks in PyTorch: outputs are compared first.

Why the recorded run falls short: reading checks what the peers do not; equalising makes
levels, counts and look-ups in passes of their own where OpenCV works on bytes; moving
gathers four corners in floats, one by one, where OpenCV has fixed point in vectors; and
the U-Net's windows, faster inside the trainer's ``lax.scan``, took 551 ms a gradient of
batch 4 at 128 pixels outside it, XLA's convolution 287.

``per_core_s`` is radiographs a second of all cores' time, which other processes hardly
touch; rounds alternate. ``times_ours`` above 1: the peer is faster. ``--peers FOLDER``
names the site-packages of another environment that has peers this one lacks.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from covid_cxr import images
from covid_cxr.benchmarks import torch_networks
from covid_cxr.images.augmentation import PUBLISHED, draw
from covid_cxr.models import ModelConfig, convert, network
from covid_cxr.models.networks import initialised
from covid_cxr.segmentation.unet import UNet, UNetConfig
from covid_cxr.train.losses import binary_cross_entropy
from synaptax.reports import harness

SIDE, STORED = 224, 512
OURS = "synaptax"
PEERS = {
    "OpenCV": "cv2",
    "scikit-image": "skimage",
    "torchvision": "torchvision",
    "PyTorch": "torch",
}
TASKS = {
    "read": ("OpenCV", "scikit-image", "torchvision"),
    "equalise": ("OpenCV", "scikit-image", "torchvision"),
    "augment": ("OpenCV", "scikit-image", "torchvision"),
    "ResNet-18 step": ("PyTorch",),
    "U-Net step": ("PyTorch",),
}
Calls = dict[str, Callable[[], Any]]


def modules() -> dict[str, Any]:
    """Return the peers that are installed, by name, on as many threads as cores."""
    peers = {}
    for name, module in PEERS.items():
        try:
            peers[name] = importlib.import_module(module)
        except ImportError:
            continue
    cores = len(os.sched_getaffinity(0))
    if "OpenCV" in peers:
        peers["OpenCV"].setNumThreads(cores)
    if "PyTorch" in peers:
        peers["PyTorch"].set_num_threads(cores)
    return peers


def drawn(folder: Path, count: int) -> list[Path]:
    """Write smooth random pictures as JPEG of the stored size; return their paths."""
    from PIL import Image

    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8))
        fine = coarse.resize((STORED, STORED), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number}.jpg")
        fine.save(paths[-1], quality=92)
    return paths


def reading(paths: Sequence[Path], peers: Mapping[str, Any]) -> Calls:
    """Return who reads the files, each to (H, W) float32 in [0, 1]."""
    scale = np.float32(1 / 255)
    calls: Calls = {OURS: lambda: [images.read(path).pixels for path in paths]}
    if cv2 := peers.get("OpenCV"):
        one = lambda path: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) * scale
        calls["OpenCV"] = lambda: list(map(one, paths))
    if "scikit-image" in peers:
        from skimage import io, util

        by_skimage = lambda path: util.img_as_float32(io.imread(path, as_gray=True))
        calls["scikit-image"] = lambda: list(map(by_skimage, paths))
    if "torchvision" in peers:
        from torchvision import io as tv  # pyright: ignore[reportMissingImports]

        grey = tv.ImageReadMode.GRAY
        by_torchvision = lambda path: (
            tv.decode_image(str(path), grey)[0].numpy() * scale
        )
        calls["torchvision"] = lambda: list(map(by_torchvision, paths))
    return calls


def equalising(stack: np.ndarray, peers: Mapping[str, Any]) -> Calls:
    """Return who equalises (n, S, S) float32 in [0, 1].

    Raises:
        RuntimeError: if OpenCV says otherwise by more than it rounds.
    """
    ours, array = jax.jit(jax.vmap(images.equalise)), jnp.asarray(stack)
    calls: Calls = {OURS: lambda: ours(array)}
    if cv2 := peers.get("OpenCV"):
        scale = np.float32(1 / 255)
        stored = [cv2.convertScaleAbs(image, alpha=255) for image in stack]

        def one(image: np.ndarray) -> np.ndarray:
            return cv2.equalizeHist(cv2.convertScaleAbs(image, alpha=255)) * scale

        calls["OpenCV"] = lambda: list(map(one, stack))
        calls["OpenCV, 8 bits to 8 bits"] = lambda: list(map(cv2.equalizeHist, stored))
        # OpenCV rounds to 8 bits: half a step.
        agree("equalise, OpenCV", calls[OURS](), calls["OpenCV"](), 0.5 / 255 + 1e-4)
    if "scikit-image" in peers:
        from skimage import exposure

        calls["scikit-image"] = lambda: list(map(exposure.equalize_hist, stack))
    if "torchvision" in peers:
        from torchvision.transforms.v2 import (  # pyright: ignore[reportMissingImports]
            functional,
        )

        tensors = peers["PyTorch"].from_numpy(stack)[:, None]
        calls["torchvision"] = lambda: functional.equalize(tensors)
    return calls


def moving(stack: np.ndarray, peers: Mapping[str, Any]) -> Calls:
    """Return who moves (n, S, S) float32, each image by a motion of its own.

    Raises:
        RuntimeError: if OpenCV says otherwise by more than its fixed point.
    """
    keys, array = jax.random.split(jax.random.key(0), len(stack)), jnp.asarray(stack)
    motions = np.asarray(jax.vmap(partial(draw, config=PUBLISHED))(keys), np.float64)
    pairs = [(image, whole(m)) for image, m in zip(stack, motions, strict=True)]
    calls: Calls = {OURS: lambda: images.augment(keys, array)}
    if cv2 := peers.get("OpenCV"):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        one = lambda image, m: cv2.warpAffine(image, m[:2], (SIDE, SIDE), flags=flags)
        calls["OpenCV"] = lambda: [one(*pair) for pair in pairs]
        agree("augment, OpenCV", calls[OURS](), calls["OpenCV"](), 0.02)
    if "scikit-image" in peers:
        from skimage import transform

        calls["scikit-image"] = lambda: [transform.warp(*p, order=1) for p in pairs]
    if "torchvision" in peers:
        from torchvision.transforms.v2 import (  # pyright: ignore[reportMissingImports]
            RandomAffine,
            RandomHorizontalFlip,
        )

        low = PUBLISHED
        mode = importlib.import_module("torchvision.transforms.v2").InterpolationMode
        move = RandomAffine(
            low.degrees, (0, low.shift), (1, low.zoom), interpolation=mode.BILINEAR
        )
        flip = RandomHorizontalFlip(low.flip)
        tensors = list(peers["PyTorch"].from_numpy(stack)[:, None])
        calls["torchvision"] = lambda: [flip(move(image)) for image in tensors]
    return calls


def whole(motion: np.ndarray) -> np.ndarray:
    """Return a motion (2, 3) of ours as (3, 3), x first, about the first pixel."""
    middle = (SIDE - 1) / 2
    turn, move = motion[::-1, 1::-1], motion[::-1, 2] * SIDE
    out = np.eye(3)
    out[:2, :2], out[:2, 2] = turn, move + middle - turn @ (middle, middle)
    return out


def resnet_steps(batch: int, side: int, width: int, peers: Mapping[str, Any]) -> Calls:
    """Return who takes an SGD step of ResNet-18, after outputs were compared."""
    net = network(ModelConfig("resnet18", width=width))
    params, stats = net.init(jax.random.key(0), side)
    x = jax.random.normal(jax.random.key(1), (batch, side, side, 1))
    label = jnp.arange(batch) % 2
    torch, theirs = peers.get("PyTorch"), None
    if torch:
        theirs = torch_networks.resnet18(torch, width)
        state = theirs.state_dict()
        params, stats = convert(state, params, stats, head=True)

    def loss(params: Any) -> tuple[Any, Any]:
        logits, averages = net.train(params, stats, x)
        return binary_cross_entropy(logits, label).mean(), averages

    return _steps("ResNet-18", loss, params, x, label[:, None], theirs, torch)


def unet_steps(batch: int, side: int, width: int, peers: Mapping[str, Any]) -> Calls:
    """Return who takes an SGD step of the U-Net, after outputs were compared."""
    config = UNetConfig(width=width)
    net = UNet(config)
    params = initialised(net, jax.random.key(0), (1, side, side))["params"]
    x = jax.random.normal(jax.random.key(1), (batch, side, side))
    mask = (x > 0).astype(jnp.float32)[..., None]
    torch, theirs = peers.get("PyTorch"), None
    if torch:
        theirs = torch_networks.unet(torch, width, config.depth)
        state = {
            name: torch.from_numpy(value)
            for name, value in unet_state(params, config.depth).items()
        }
        theirs.load_state_dict(state)

    def loss(params: Any) -> tuple[Any, Any]:
        logits = net.apply({"params": params}, x)  # pyright: ignore
        return optax.sigmoid_binary_cross_entropy(logits, mask).mean(), ()

    return _steps("U-Net", loss, params, x[..., None], mask, theirs, torch)


def unet_state(params: Any, depth: int) -> dict[str, np.ndarray]:
    """Return our U-Net's parameters under PyTorch's names and in its layout."""
    pairs = [f"down.{i}" for i in range(depth + 1)] + [f"up.{i}" for i in range(depth)]
    state = {}

    def put(name: str, leaves: Mapping[str, Any]) -> None:
        for leaf, value in leaves.items():
            value = np.asarray(value)
            value = value.transpose(3, 2, 0, 1) if leaf == "kernel" else value
            kind = "bias" if leaf == "bias" else "weight"
            state[f"{name}.{kind}"] = np.array(value)  # writable and dense

    for number, name in enumerate(pairs):
        for half in (0, 1):
            layers = params[f"Pair_{number}"]
            put(f"{name}.{3 * half}", layers[f"Convolution_{half}"])
            put(f"{name}.{3 * half + 1}", layers[f"Norm_{half}"])
    for number in range(depth):
        put(f"narrow.{number}", params[f"Convolution_{number}"])
    put("out", params[f"Convolution_{depth}"])
    return state


def _steps(
    name: str, loss: Any, params: Any, x: Any, target: Any, theirs: Any, torch: Any
) -> Calls:
    tx = optax.sgd(0.01, momentum=0.9)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        (value, averages), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, averages

    state = tx.init(params)
    calls: Calls = {OURS: lambda: step(params, state)}
    if theirs is None:
        return calls
    channels_first = lambda a: np.moveaxis(np.array(a, np.float32), -1, 1).copy()
    images_, targets = (torch.from_numpy(channels_first(a)) for a in (x, target))
    if targets.ndim == 2:
        targets = targets.reshape(-1, 1)
    sgd = torch.optim.SGD(theirs.parameters(), 0.01, momentum=0.9)
    cross = torch.nn.BCEWithLogitsLoss()

    def peer() -> Any:
        sgd.zero_grad()
        value = cross(theirs(images_), targets)
        value.backward()
        sgd.step()
        return value.item()

    mine, first = float(step(params, state)[2]), peer()
    agree(f"{name}, PyTorch's loss", [mine], [first], 1e-3 * abs(first))
    return calls | {"PyTorch": peer}


def agree(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    """Raise a RuntimeError where two results differ by more than a tolerance."""
    apart = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    if not apart <= tolerance:
        raise RuntimeError(f"{what}: {apart:.3g} apart, expected {tolerance:.3g}")


def rows_of(
    task: str, calls: Calls, count: int, repeats: int, installed: Sequence[str]
) -> list[dict[str, Any]]:
    """Time one task's calls in turns; a peer that is not installed is a row too.

    Args:
        task: one of :data:`TASKS`.
        calls: ours and the peers'.
        count: radiographs in a call.
        repeats: timed rounds.
        installed: the peers that are there.
    """
    times = harness.measure(calls, repeats=repeats, clock=time.process_time)
    ours = times[OURS].best
    rows = [
        {
            "task": task,
            "by": name,
            "per_core_s": count / each.best,
            "median_ms": 1e3 * each.median / count,
            "times_ours": ours / each.best,
        }
        for name, each in times.items()
    ]
    lacking = dict.fromkeys(("per_core_s", "median_ms", "times_ours"), "not installed")
    rows += [{"task": task, "by": p, **lacking} for p in TASKS[task]
             if p not in installed]  # fmt: skip
    return rows


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every task that is asked for; see :func:`main`."""
    peers = modules()
    with tempfile.TemporaryDirectory() as folder:
        if options.folder is None:
            paths = drawn(Path(folder), options.images)
        else:
            paths = sorted(options.folder.rglob("*.jpg"))[: options.images]
        stack = [images.square(images.read(path).pixels, SIDE) for path in paths]
        stack = np.clip(np.stack(stack), 0, 1).astype(np.float32)
        count, size = len(paths), (options.batch, options.side)
        makers: dict[str, tuple[int, Callable[[], Calls]]] = {
            "read": (count, lambda: reading(paths, peers)),
            "equalise": (count, lambda: equalising(stack, peers)),
            "augment": (count, lambda: moving(stack, peers)),
            "ResNet-18 step": (
                options.batch,
                lambda: resnet_steps(*size, options.width, peers),
            ),
            "U-Net step": (options.batch, lambda: unet_steps(*size, 12, peers)),
        }
        rows = []
        for task in options.tasks:
            number, make = makers[task]
            rows += rows_of(task, make(), number, options.repeats, list(peers))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/rates.json")
    parser.add_argument("--folder", type=Path, help="JPEG files; default: drawn ones")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=128, help="of a training step")
    parser.add_argument("--width", type=int, default=64, help="of the ResNet")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", type=Path, help="site-packages with more peers")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args(arguments)
    if options.peers is not None:
        sys.path.append(str(options.peers))  # last: what is installed here goes first
    rows = run(options)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
