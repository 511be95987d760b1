"""One cell of a comparison: a network, trained by a method to a compression."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pruning._rewired import straight_through
from pruning.comparison import methods
from pruning.comparison.config import Comparison
from pruning.masks import apply_mask, count
from pruning.transforms import masks_of, with_masks
from synaptax.data.images import Batch, Dataset, epoch_order
from synaptax.nets.models import Network
from synaptax.training.epochs import scan_batches
from synaptax.training.evaluation import cross_entropy, evaluate, evaluating
from synaptax.typing import Array, PyTree


class Cell(NamedTuple):
    """Which network.

    Attributes:
        method: its name; "dense" at compression 1.
        compression: weights over weights kept.
        seed: of the initial weights, the order of the examples and what is drawn.
    """

    method: str
    compression: float
    seed: int

    @property
    def name(self) -> str:
        """Return the stem of its file."""
        return f"{self.method}-{self.compression:g}-{self.seed}"


class _State(NamedTuple):
    """What goes from step to step."""

    params: PyTree
    stats: Any
    opt_state: Any


class _Examples(NamedTuple):
    """The examples of a step, as the chain gets them."""

    image: Array
    label: Array
    stats: Any


def listing(config: Comparison) -> list[Cell]:
    """Return all cells by seed, then compression: whole columns are done first."""
    cells = []
    for seed in config.seeds:
        cells.append(Cell(methods.DENSE, 1.0, seed))
        for compression in config.compressions:
            cells += [Cell(method, compression, seed) for method in config.methods]
    return cells


class Trainer:
    """Trains cells; a method is compiled once for all its compressions and seeds.

    Args:
        config: the comparison.
        data: the data set.
        net: the network.
    """

    def __init__(self, config: Comparison, data: Dataset, net: Network) -> None:
        self._config, self._net, self._classes = config, net, data.classes
        parts = (data.train, data.validation, data.test)
        self._train, self._validation, self._test = (
            Batch(*map(jnp.asarray, part)) for part in parts
        )
        self.steps = len(data.train.label) // config.batch
        self._programs: dict[str, Callable[..., Any]] = {}

    def cell(self, cell: Cell) -> Iterator[dict[str, Any]]:
        """Train; yield the mean loss of each epoch, and last what the cell came to."""
        config, started = self._config, time.monotonic()
        method, density = cell.method, 1 / cell.compression
        key = jax.random.key(cell.seed)
        params, stats = jax.jit(self._net.init)(key)
        order = epoch_order(key, len(self._train.label), config.batch)
        batches = [self._take(index) for index in order[: config.score_batches]]
        masks, before = methods.scored_masks(
            method, config, self._net, params, stats, batches, density, key
        )
        tx = self._transform(method, jnp.float32(density), key)
        params = methods.rescaled(params, masks)
        opt_state = with_masks(jax.jit(tx.init)(params), masks)
        state, losses = _State(params, stats, opt_state), jnp.zeros(1)
        if method not in self._programs:
            self._programs[method] = jax.jit(
                partial(self._epoch, method), donate_argnums=0
            )
        epoch = self._programs[method]
        for number in range(config.budget):
            now = jnp.int32(number)
            # Arrays and not constants: one program for all compressions and seeds.
            state, losses = epoch(state, now, key, jnp.float32(density), self._train)
            loss = float(losses.mean())
            if number + 1 < config.budget:
                yield {"loss": loss}
        masks = masks_of(state.opt_state)
        # Behind straight-through masks the dense weights live
        # on: tested is what is kept.
        params = apply_mask(state.params, masks)
        yield {
            **cell._asdict(),
            **self._tested(params, state.stats),
            "train_loss": float(losses.mean()),
            "finite": bool(jnp.isfinite(losses).all()),
            **_counted(masks),
            "epochs": config.budget,
            "gradients_before": before,
            "gradients": before
            + methods.gradients_of(method, self._classes, config.budget * self.steps),
            "wall_s": round(time.monotonic() - started, 2),
        }

    def _take(self, index: Array) -> Batch:
        return Batch(*(leaf[index] for leaf in self._train))

    def _transform(self, method: str, density: Any, key: Array) -> Any:
        return methods.transform(
            method, self._config, self._net, self._classes, self.steps, density, key
        )

    def _tested(self, params: PyTree, stats: Any) -> dict[str, float]:
        values = {}
        for name, part in (("validation", self._validation), ("test", self._test)):
            loss, error = self._evaluate(params, stats, part)
            values |= {f"{name}_loss": float(loss), f"{name}_error": float(error)}
        return values

    @partial(jax.jit, static_argnums=0)
    def _evaluate(self, params: PyTree, stats: Any, part: Batch) -> Any:
        return evaluate(evaluating(self._net, stats), params, part)

    def _epoch(
        self,
        method: str,
        state: _State,
        number: Array,
        key: Array,
        density: Array,
        train: Batch,
    ) -> tuple[_State, Array]:
        """Run an epoch; the order of the examples is the seed's, in every method."""
        tx = self._transform(method, density, key)
        own = jax.random.fold_in(key, number)
        order = epoch_order(own, train.label.shape[0], self._config.batch)
        keys = jax.random.split(jax.random.fold_in(own, 1), self.steps)
        step = partial(self._step, method, tx, key)
        return scan_batches(step, state, train, order, keys)

    def _step(
        self,
        method: str,
        tx: optax.GradientTransformationExtraArgs,
        fixed: Array,
        state: _State,
        batch: Batch,
        key: Array,
    ) -> tuple[_State, Array]:
        """Take one step, w <- w + tx(dL/dw)."""

        def loss_of(weights: PyTree) -> tuple[Array, Any]:
            if methods.behind_masks(method):
                weights = straight_through(weights, masks_of(state.opt_state))
            logits, new_stats = self._net.train(weights, state.stats, batch.image, key)
            return cross_entropy(logits, batch.label).mean(), new_stats

        value = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        (loss, stats), grads = value
        updates, opt_state = tx.update(
            grads,
            state.opt_state,
            state.params,
            batch=_Examples(*batch, stats),
            grads=grads,
            key=fixed,  # random scores keep their order: what is dropped stays so
        )
        params: Any = optax.apply_updates(state.params, updates)
        return _State(params, stats, opt_state), loss


def _counted(masks: PyTree) -> dict[str, Any]:
    counted = count(masks)
    leaves = {name: int(leaf.kept) for name, leaf in counted.leaves.items()}
    return {"kept": int(counted.kept), "total": int(counted.total), "leaves": leaves}
