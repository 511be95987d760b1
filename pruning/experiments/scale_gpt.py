"""A small GPT, sharded over a mesh and pruned inside its jitted step.

Run with ``python -m pruning.experiments.scale_gpt --fsdp 4 --tensor 2``, on one machine
or, with ``--distributed``, in each process of a cluster (:mod:`synaptax.runs.processes`
has the environment it reads). The network is Flax NNX; JAX's partitioner does all the
rest: nothing here knows how many devices there are but :func:`layout`, which says along
which axis of the mesh each axis of a parameter lies. The masks lie as the weights do.

``fsdp``
    the batch, and of each kernel the axis of the residual stream: gathered for use.
``tensor``
    heads, hidden units and the vocabulary: each device computes with its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import pruning
from synaptax.runs import checkpoints, environment, processes, write_json
from synaptax.trees import map_named

AXES = ("fsdp", "tensor")
TEXT = Path(__file__).parents[2] / "README.md"


@dataclasses.dataclass(frozen=True)
class Config:
    """The network, its training and the mesh.

    Attributes:
        width: of the residual stream.
        heads: of attention; they divide the width.
        layers: blocks of attention and two dense layers.
        context: bytes of text that a prediction may see.
        batch: sequences a step.
        steps: in all.
        rate: learning rate of SGD with momentum 0.9.
        density: of the weights at the end; the cubic schedule runs from a tenth to
            seven tenths of the steps.
        every: steps between changes of the masks.
        packed: hold the masks as bits.
        fsdp: devices along which the batch and each kernel's stream axis lie.
        tensor: devices along which heads, hidden units and vocabulary lie.
        whole_batch: each device computes on the whole batch.
        distributed: join the other processes of a run first.
        seed: of weights and batches.
        text: the file to learn, byte by byte.
        out: a folder for the checkpoint and the summary.
    """

    width: int = 256
    heads: int = 8
    layers: int = 4
    context: int = 128
    batch: int = 32
    steps: int = 200
    rate: float = 0.1
    density: float = 0.1
    every: int = 10
    packed: bool = False
    fsdp: int = 1
    tensor: int = 1
    whole_batch: bool = False
    distributed: bool = False
    seed: int = 0
    text: Path = TEXT
    out: Path = Path("runs/scale_gpt")


class Block(nnx.Module):
    """Causal attention and a dense layer with a hidden one, each after a norm."""

    def __init__(self, config: Config, rngs: nnx.Rngs) -> None:
        width = config.width
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            config.heads, width, decode=False, keep_rngs=False, rngs=rngs
        )
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the residual stream (B, T, width) after this block."""
        causal = nnx.make_causal_mask(x[..., 0])
        x = x + self.attention(self.norm1(x), mask=causal)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class GPT(nnx.Module):
    """A decoder of bytes."""

    def __init__(self, config: Config, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(256, config.width, rngs=rngs)
        self.positions = nnx.Embed(config.context, config.width, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.head = nnx.Linear(config.width, 256, use_bias=False, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Return the logits (B, T, 256) of the bytes that follow tokens (B, T)."""
        places = self.positions(jnp.arange(tokens.shape[1]))
        x = self.embed(tokens) + places[None]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


_HEADS = {3: ("fsdp", "tensor", None), 2: ("tensor", None)}
_PLACES: dict[str, dict[int, tuple[str | None, ...]]] = {
    "embed": {2: ("tensor", "fsdp")},
    "positions": {2: ("tensor", "fsdp")},
    "query": _HEADS,
    "key": _HEADS,
    "value": _HEADS,
    "out": {3: ("tensor", None, "fsdp")},
    "up": {2: ("fsdp", "tensor"), 1: ("tensor",)},
    "down": {2: ("tensor", "fsdp")},
    "head": {2: ("fsdp", "tensor")},
}


def layout(name: str, leaf: Any, mesh: Mesh) -> NamedSharding:
    """Return where a leaf lies, or its masks, or its moments.

    Args:
        name: its path.
        leaf: anything with a shape; an axis that the devices do not divide is whole.
        mesh: with the axes :data:`AXES`.
    """
    # The last part of an NNX path is the field of the variable, "value", no head.
    parts = name.removesuffix("/value").split("/")
    modules = [part for part in parts if part in _PLACES]
    axes = _PLACES[modules[-1]].get(leaf.ndim, ()) if modules else ()
    fitting = [
        axis if axis and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(axes, leaf.shape, strict=False)
    ]
    return NamedSharding(mesh, P(*fitting))


def make_mesh(config: Config) -> Mesh:
    """Return a mesh of ``fsdp`` x ``tensor`` devices."""
    count = config.fsdp * config.tensor
    devices = jax.devices()
    if count > len(devices):
        raise ValueError(f"mesh: expected at most {len(devices)} devices, got {count}")
    grid = np.asarray(devices[:count]).reshape(config.fsdp, config.tensor)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto, AxisType.Auto))


class Training(NamedTuple):
    """What a run consists of.

    Attributes:
        begin: key -> (params, optimizer state), each device making its own part.
        step: (params, state, tokens) -> (params, state, (loss, kept weights)); params
            and state are donated.
        like: shapes and shardings of (params, state), to restore a checkpoint into.
        place: puts a batch, of which each process holds the whole, on the mesh.
    """

    begin: Callable[[jax.Array], Any]
    step: Callable[..., Any]
    like: Any
    place: Callable[[np.ndarray], jax.Array]


def training(config: Config, mesh: Mesh) -> Training:
    """Return the run's functions, compiled for a mesh."""
    begin_at, end_at = config.steps // 10, 7 * config.steps // 10
    schedule = pruning.polynomial(begin_at, end_at, config.density, every=config.every)
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.sgd(config.rate, momentum=0.9),
        pruning.prune(schedule, packed=config.packed),
    )
    model = nnx.eval_shape(lambda: GPT(config, nnx.Rngs(0)))
    graph = nnx.graphdef(model)

    def begin(key: jax.Array) -> Any:
        params = nnx.state(GPT(config, nnx.Rngs(key)), nnx.Param)
        return params, tx.init(params)

    shapes = jax.eval_shape(begin, jax.random.key(0))
    places = map_named(lambda name, leaf: layout(name, leaf, mesh), shapes)

    def step(params: Any, state: Any, tokens: jax.Array) -> Any:
        def loss_of(params: Any) -> jax.Array:
            # Each byte from those before it: (B, T + 1) -> (B,
            # T) inputs and (B, T) labels.
            logits = nnx.merge(graph, params)(tokens[:, :-1])
            each = optax.softmax_cross_entropy_with_integer_labels
            return each(logits, tokens[:, 1:]).mean()

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(grads, state, params)
        survivors = pruning.count(pruning.masks_of(state), params=params).kept
        return optax.apply_updates(params, updates), state, (loss, survivors)

    whole = NamedSharding(mesh, P())
    along = whole if config.whole_batch else NamedSharding(mesh, P("fsdp"))
    return Training(
        jax.jit(begin, out_shardings=places),
        jax.jit(step, donate_argnums=(0, 1), out_shardings=(*places, whole)),
        jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=place
            ),
            shapes,
            places,
        ),
        lambda batch: jax.make_array_from_callback(
            batch.shape, along, lambda at: batch[at]
        ),
    )


def batch_of(config: Config, text: np.ndarray, number: int) -> np.ndarray:
    """Return the windows (batch, context + 1) of a step; the same in each process."""
    rng = np.random.default_rng([config.seed, number])
    starts = rng.integers(0, text.size - config.context, config.batch)
    return text[starts[:, None] + np.arange(config.context + 1)].astype(np.int32)


def fit(
    config: Config,
    mesh: Mesh,
    watch: Callable[[int, Any, Any], None] = lambda number, params, state: None,
) -> tuple[Any, Any, list[tuple[float, int]]]:
    """Train from the start.

    Args:
        config: the run.
        mesh: of :func:`make_mesh`.
        watch: called after each step with its number, the parameters and the state.

    Returns:
        Parameters, optimizer state and, for each step, loss and kept weights.
    """
    text = np.frombuffer(config.text.read_bytes(), np.uint8)
    if text.size <= config.context:
        raise ValueError(f"text: {config.text} is shorter than a context")
    run = training(config, mesh)
    params, state = run.begin(jax.random.key(config.seed))
    history = []
    for number in range(config.steps):
        tokens = run.place(batch_of(config, text, number))
        params, state, (loss, survivors) = run.step(params, state, tokens)
        watch(number, params, state)
        history.append((float(loss), int(survivors)))
        if not np.isfinite(history[-1][0]):
            raise FloatingPointError(f"loss: not finite at step {number}")
    return params, state, history


def main(config: Config) -> None:
    """Train, checkpoint and write the summary."""
    if config.distributed:
        processes.join()
    mesh = make_mesh(config)
    params, state, history = fit(config, mesh)
    checkpoints.save(
        config.out / "checkpoint", (params, state), step=config.steps, keep=1
    )
    if processes.first():
        losses, survivors = map(list, zip(*history, strict=True))
        settings = {
            key: str(value) for key, value in dataclasses.asdict(config).items()
        }
        summary = {"config": settings, "losses": losses, "kept": survivors}
        write_json(config.out / "summary.json", {**environment(), **summary})
        print(f"loss {losses[-1]:.4f}, {survivors[-1]:,} weights kept: {config.out}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config, description=(__doc__ or "").splitlines()[0]))
