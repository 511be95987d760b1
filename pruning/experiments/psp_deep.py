"""PSP in deep networks with batch-norm, at a size for one CPU core (1907.08544).

ResNet-20 of half its width (8, 16, 32 channels) and All-CNN-C of a quarter of its
width (24, 48) with batch-norm, both on 2x2 blocks of pixels put into channels, so that
all feature maps have half the side: a quarter of the work. 10,000 training images of
the JPEG copy of CIFAR-10, crop and flip, SGD 0.1 with momentum 0.9, batch 100, 24
epochs, the rate divided by 10 after 14 and 20. Errors are comparable with one another
only.

First a small search, one seed and 4 epochs, on 2,000 validation images: four settings
of the penalty, two as the authors' best logs have it (sums, without logits), two as
their LeNet code has it (means, with logits), and four strengths of L2; the lowest
validation error is taken, of equals the lowest loss. Then none, L2, PSP and both at the
strengths found: from the same initial weights, with the same batches. The test set is
looked at once, at the end.

Command: ``python -m pruning.experiments.psp_deep``; about two and a half hours on one
CPU core (25 minutes of it the search) and 1.8 GB; each cell is a file, and
one that is interrupted goes on after its last epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flax import linen as nn

from pruning.experiments import _psp_cells
from pruning.experiments._variants import parse
from pruning.regularisers.config import RegulariserConfig
from synaptax.nets.allcnn import AllCNNC
from synaptax.nets.resnets import ResNet
from synaptax.typing import Array, Float

SEEDS = {"resnet20": (0, 1, 2), "allcnn": (0, 1)}
METHODS = ("none", "l2", "psp", "psp+l2")
BASE = RegulariserConfig(
    dataset="cifar10_jpeg75",
    method="none",
    epochs=24,
    drops=(14, 20),
    momentum=0.9,
    augment=True,
    validation=2000,
    limit=10000,
    measure=True,
    checkpoint_every=1,
)
SEARCH = replace(BASE, epochs=4, drops=(3,), measure=False)
SETTINGS = {
    "none": SEARCH,
    **{
        f"psp-sum-{gamma:g}": replace(
            SEARCH, method="psp", gamma=gamma, normalization="sum", logits=False
        )
        for gamma in (1e-6, 1e-5)
    },
    **{
        f"psp-mean-{gamma:g}": replace(SEARCH, method="psp", gamma=gamma)
        for gamma in (1e-2, 1e-1)
    },
    **{
        f"l2-{l2:g}": replace(SEARCH, method="l2", l2=l2)
        for l2 in (1e-4, 5e-4, 2e-3, 5e-3)
    },
}
# What each search settles.
_STRENGTHS = {"psp": ("gamma", "normalization", "logits"), "l2": ("l2",)}


class OnBlocks(nn.Module):
    """A network that sees 2x2 blocks of pixels as one pixel of 4 C channels."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return what the inner network says."""
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, height // 2, width // 2, 4 * channels)
        return self.inner(x, train=train)


def resnet20(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Return ResNet-20 of half its width, on blocks."""
    del shape
    return OnBlocks(ResNet(classes, (8, 16, 32), 3))


def allcnn(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Return All-CNN-C of a quarter of its width with batch-norm, on blocks."""
    del shape
    return OnBlocks(
        AllCNNC(classes, input_dropout=0.0, dropout=0.0, width=24, norm=True)
    )


def of_network(network: str, config: RegulariserConfig) -> RegulariserConfig:
    """Return a configuration for one of the networks of this file."""
    return replace(config, model=f"pruning.experiments.psp_deep:{network}")


def chosen(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the strengths with the lowest validation error; of equals, loss.

    Args:
        cells: of one network's search, one seed each.

    Raises:
        ValueError: if a method was not searched.
    """
    settings: dict[str, Any] = {}
    for method, fields in _STRENGTHS.items():
        own = [cell for cell in cells if cell["method"] == method]
        if not own:
            raise ValueError(f"cells: the search of {method} has not been run")
        last = lambda cell: (cell["curves"]["error"][-1], cell["curves"]["loss"][-1])
        best = min(own, key=last)
        settings |= {field: best["config"][field] for field in fields}
    return settings


def run(
    options: argparse.Namespace,
    *,
    base: RegulariserConfig = BASE,
    settings: Mapping[str, RegulariserConfig] = SETTINGS,
) -> None:
    """Run the search and then the cells that are not recorded yet, seed by seed.

    Args:
        options: ``only`` (networks), ``seeds``, ``runs`` and ``recorded``.
        base: the configuration of a cell.
        settings: name -> configuration of a trial.
    """
    strengths = {}
    for network in options.only:
        for name, config in settings.items():
            variant, trial = f"{network}-{name}", of_network(network, config)
            _psp_cells.run_missing("psp_deepsearch", variant, trial, options)
        trials = _psp_cells.read(options.recorded, f"psp_deepsearch-{network}")
        strengths[network] = chosen(trials)
        print(f"psp_deep, {network}: {strengths[network]}", flush=True)
    for seed in sorted({seed for network in options.only for seed in SEEDS[network]}):
        for network in options.only:
            if seed not in (options.seeds or SEEDS[network]):
                continue
            for method in METHODS:
                config = replace(
                    base, method=method, seeds=(seed,), **strengths[network]
                )
                cell = of_network(network, config)
                _psp_cells.run_missing("psp_deep", f"{network}-{method}", cell, options)


if __name__ == "__main__":
    run(parse(SEEDS, __doc__ or "", None))
