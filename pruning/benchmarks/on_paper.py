"""Memory and time of each transform against the number of devices, on paper.

Run with ``python -m pruning.benchmarks.on_paper``: it writes ``docs/scale.md``. Nothing
is allocated: shapes are those of ``jax.eval_shape``, bytes of a state are counted on
the shapes of ``init``, operations are those of XLA's cost analysis of the forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx

import pruning
from pruning.experiments import scale_gpt
from synaptax.reports.tables import markdown

DEVICES = (1, 8, 64, 256)
BANDWIDTH, FLOPS, LATENCY = 3.35e12, 4e14, 2e-5
PASSES, LIMIT = 19, 2**31 - 1
PAGE = Path(__file__).parents[2] / "docs" / "scale.md"

_HEAD = """# From one device to many

Written by `python -m pruning.benchmarks.on_paper`. `python -m pruning.benchmarks.scale`
measures: [benchmarks](results/sensitivity.md#benchmarks-of-pruning) has its record.

Nothing in the transforms knows of devices: parameters that lie on a mesh give masks,
sensitivities and scores that lie as they do. A choice of masks exchanges counts: three
integers for each leaf in each of 16 passes (two bits of the threshold a pass), three in
each pass that breaks ties (log4 of the leaf's size), four besides; never a weight, and
nothing is sorted. `with_psp` adds no collective to those of the loss: its sum joins the
loss's. `tests/pruning/test_scale.py` reads this in the compiled text.
`pruning.experiments.scale_gpt` trains a GPT so, on one machine or with
`jax.distributed`.

Bytes that a transform holds for each weight: `prune` 1 (an eighth with `packed=True`),
`pruned` the same and what its optimizer holds, `sensitivity_decay` none (4, or 2 with
`state_dtype=jnp.bfloat16`, where `refresh` is more than 1), `loss_sensitivity_decay`
and `psp_regularization` none.

A step that chooses masks needs at its peak 1.08 times the bytes of weights, gradients,
momentum and masks with SGD, 1.06 times with Adam: the masks before and after it are all
that is held twice.

All benchmarks in a line, on whatever device there is:

```sh
for b in pruning.benchmarks.scale analysis.benchmarks.curvature binary.benchmarks.epoch binary.benchmarks.throughput; do python -m $b --out ${b%%.*}/experiments/recorded/benchmark-${b##*.}@$(python -c 'import jax; print(jax.default_backend())').json; done
```

## On paper

"""  # noqa: E501


class Case(NamedTuple):
    """A network: its parameters' shapes and the work of one example's forward pass."""

    params: Any
    flops: float
    batch: int


class VGG16(nn.Module):
    """Configuration D of arXiv 1409.1556, for 1000 classes."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits of images (B, 224, 224, 3)."""
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                x = nn.relu(nn.Conv(width, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(4096)(x))
        return nn.Dense(1000)(x)


class ResNet50(nn.Module):
    """The bottleneck network of arXiv 1512.03385, norms as scale and shift."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits of images (B, 224, 224, 3)."""
        norm = lambda y: nn.BatchNorm(use_running_average=True)(y)
        conv = lambda y, width, side, stride=1: norm(
            nn.Conv(width, (side, side), (stride, stride), use_bias=False)(y)
        )
        x = nn.max_pool(nn.relu(conv(x, 64, 7, 2)), (3, 3), (2, 2), "SAME")
        for stage, depth in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            for block in range(depth):
                stride = 2 if stage and not block else 1
                y = nn.relu(conv(x, width, 1))
                y = nn.relu(conv(y, width, 3, stride))
                y = conv(y, 4 * width, 1)
                x = nn.relu(y + (x if block else conv(x, 4 * width, 1, stride)))
        return nn.Dense(1000)(x.mean((1, 2)))


def images(model: nn.Module, batch: int) -> Case:
    """Return the case of a network of ImageNet's images."""
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    return Case(variables["params"], work(model.apply, variables, x), batch)


def transformer() -> Case:
    """Return the case of a transformer of 6.9 billion weights, contexts of 2048."""
    config = scale_gpt.Config(width=4096, heads=32, layers=34, context=2048)
    params = _shapes(config)
    one, two = (
        _tokens_work(config.__class__(4096, 32, layers, 2048)) for layers in (1, 2)
    )
    # Linear in the number of layers: the work of one, and what a second adds.
    return Case(params, one + (config.layers - 1) * (two - one), 512)


def _shapes(config: scale_gpt.Config) -> Any:
    begin = lambda: nnx.state(scale_gpt.GPT(config, nnx.Rngs(0)), nnx.Param)
    return jax.eval_shape(begin)


def _tokens_work(config: scale_gpt.Config) -> float:
    model = nnx.eval_shape(lambda: scale_gpt.GPT(config, nnx.Rngs(0)))
    graph, state = nnx.split(model)
    tokens = jax.ShapeDtypeStruct((1, config.context), jnp.int32)
    return work(lambda state, x: nnx.merge(graph, state)(x), state, tokens)


def work(function: Callable[..., Any], *shapes: Any) -> float:
    """Return the floating-point operations of a function, by XLA's cost analysis."""
    analysis = jax.jit(function).lower(*shapes).cost_analysis()
    assert analysis is not None
    return float(analysis["flops"])


def held(tx: optax.GradientTransformation, params: Any) -> int:
    """Return the bytes of a transform's state."""
    leaves = jax.tree.leaves(jax.eval_shape(tx.init, params))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def rows(name: str, case: Case) -> list[list[str]]:
    """Return the table's rows of one network."""
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(case.params))
    count = len(jax.tree.leaves(case.params))
    schedule = pruning.manual()
    bits = held(pruning.prune(schedule, packed=True), case.params)
    momentum = held(optax.sgd(1.0, momentum=0.9), case.params)
    # A pass forward, and one back that takes twice as much.
    train = 3 * case.flops * case.batch
    groups = -(-size // LIMIT)
    lines = []
    for devices in DEVICES:
        stream = lambda moved, devices=devices: moved / devices / BANDWIDTH
        compute = train / devices / FLOPS
        # In each pass of a choice the counts of all devices are added up.
        waits = LATENCY * (PASSES if devices > 1 else 0) * groups
        lines.append(
            [
                name if devices == DEVICES[0] else "",
                str(devices),
                # 4 bytes of weight and 4 of gradient, float32.
                f"{(8 * size + momentum) / devices / 1e9:.2f}",
                f"{size / devices / 1e9:.3f} / {bits / devices / 1e9:.3f}",
                f"{1e3 * compute:.1f}",
                f"{1e3 * stream(size):.3f}",
                # Weight 4, update 4 and mask 1 byte, read in each pass.
                f"{1e3 * (stream(9 * PASSES * size) + waits):.1f}",
                f"{1e3 * compute:.1f}",
                f"{1e3 * compute:.1f} / 0",
            ]
        )
    lines[0][0] += f" ({size / 1e6:,.1f}M weights, {count} leaves)"
    return lines


def main() -> None:
    """Write the page."""
    cases = {
        "VGG-16": images(VGG16(), 256),
        "ResNet-50": images(ResNet50(), 256),
        "transformer": transformer(),
    }
    columns = (
        "network",
        "devices",
        "weights, gradients, momentum, GB each",
        "masks, bytes / bits, GB each",
        "step, ms",
        "masks held, ms",
        "masks chosen, ms",
        "sensitivity, ms",
        "PSP, transform / with_psp, ms",
    )
    table = [line for name, case in cases.items() for line in rows(name, case)]
    summary = "\n".join(
        f"- {name}: {case.flops / 1e9:,.1f} GFLOP forward, batch {case.batch}"
        for name, case in cases.items()
    )
    text = f"""{_HEAD}{chr(10).join(markdown(columns, table))}

The columns after "step" are what a transform adds to it. Assumptions:

{summary};
- each device streams {BANDWIDTH / 1e12:.2f} TB/s, reaches {FLOPS / 1e12:.0f} TFLOP/s;
  a collective of scalars takes {1e6 * LATENCY:.0f} us, and XLA joins those of a pass;
- weights, gradients and momentum in float32, all of them sharded evenly; a step is
  three forward passes; activations, and what the forward pass itself exchanges, are
  left out;
- masks held: one byte a weight is read more. Masks chosen: {PASSES} passes that read
  weight, update and mask (9 bytes), at the steps of the schedule alone;
- sensitivity: specific, one pass forward and back more (unspecific: one for each
  output); by taps, exact, in chunks of examples. PSP: the transform makes a pass of its
  own, `with_psp` shares that of the loss;
- one choice ranks at most 2^31 - 1 weights together: of more, `optax.partition` prunes
  groups, each by a ranking of its own (here the transformer in four).
"""
    PAGE.write_text(text)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
