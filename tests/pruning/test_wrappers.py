"""What stands around prune and pruned, as docs/wrappers.md says; its recipes run."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from optax import contrib

import pruning
from tests.pruning.networks import draw

PARAMS = {"w": draw(1, 4, 6), "v": draw(2, 6, 3)}
X = draw(3, 5, 4)
ONCE = pruning.one_shot(2, 0.25)


def dropped(params, masks):
    """Return the number of weights that a mask drops and that are not zero."""
    both = zip(jax.tree.leaves(params), jax.tree.leaves(masks), strict=True)
    return sum(int(((w != 0) & ~m).sum()) for w, m in both)


def train(tx, params):
    state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for step in range(5):
            fast = getattr(params, "fast", params)
            grads = jax.tree.map(lambda w, s=step: w + jnp.float32(s), fast)
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            assert dropped(params, pruning.masks_of(state)) == 0
    return params, state


INNER = {
    "lbfgs": lambda: optax.lbfgs(0.1, linesearch=None),
    "schedule_free": lambda: contrib.schedule_free_sgd(0.1),
    "sam": lambda: contrib.sam(optax.sgd(0.1), optax.sgd(0.05), 2),
    "ema": lambda: optax.ema(0.9),
}


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("form", ["chain", "pruned"])
def test_zeros_are_exact(form, name):
    if form == "chain":
        tx = optax.chain(INNER[name](), pruning.prune(ONCE))
    else:
        tx = pruning.pruned(INNER[name](), ONCE)
    params, state = train(tx, PARAMS)
    assert sum(int((w != 0).sum()) for w in params.values()) == 10
    if name == "schedule_free":
        inner = state[0] if form == "chain" else state.pruned_inner
        mean = contrib.schedule_free_eval_params(inner, params)
        masks = pruning.masks_of(state)
        assert (dropped(mean, masks) == 0) == (form == "pruned")
        assert dropped(pruning.apply_mask(mean, masks), masks) == 0


def test_lookahead_prunes_both_its_views_alike():
    tx = optax.chain(optax.lookahead(optax.sgd(0.1), 2, 0.5), pruning.prune(ONCE))
    params, state = train(tx, optax.LookaheadParams.init_synced(PARAMS))
    masks = pruning.masks_of(state)
    assert pruning.count(masks.fast) == pruning.count(masks.slow)
    assert dropped(params.slow, masks.fast) == 0


@pytest.mark.parametrize(
    ("inner", "params"),
    [
        (optax.flatten(optax.adam(0.1)), PARAMS),
        (
            optax.lookahead(optax.sgd(0.1), 2, 0.5),
            optax.LookaheadParams.init_synced(PARAMS),
        ),
    ],
    ids=["flatten", "lookahead"],
)
def test_a_state_of_another_layout_is_refused_with_the_way_out(inner, params):
    with pytest.raises(ValueError, match=r"write optax.chain\(inner, prune"):
        train(pruning.pruned(inner, ONCE), params)


def chain(apply_fn):
    return optax.chain(
        pruning.psp_regularization(apply_fn, 1e-3),
        optax.sgd(0.1),
        pruning.prune(pruning.one_shot(1, 0.5)),
    )


def test_the_train_state_recipe():
    apply_fn = lambda p, x: jax.nn.relu(x @ p["w"]) @ p["v"]

    class State(TrainState):
        def apply_gradients(self, *, grads, **extra):
            updates, opt_state = self.tx.update(
                grads, self.opt_state, self.params, **extra
            )
            params = optax.apply_updates(self.params, updates)
            return self.replace(step=self.step + 1, params=params, opt_state=opt_state)

    state = State.create(apply_fn=apply_fn, params=PARAMS, tx=chain(apply_fn))
    for _ in range(3):
        grads = jax.grad(lambda p: apply_fn(p, X).mean())(state.params)
        state = state.apply_gradients(grads=grads, batch=X)
    assert sum(int((w != 0).sum()) for w in state.params.values()) == 21


def test_the_nnx_recipe():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Linear(4, 6, rngs=rngs), nnx.relu, nnx.Linear(6, 3, rngs=rngs)
    )
    graph, _, rest = nnx.split(model, nnx.Param, ...)
    apply_fn = lambda p, x: nnx.merge(graph, p, rest)(x)
    optimizer = nnx.Optimizer(model, chain(apply_fn), wrt=nnx.Param)
    for _ in range(3):
        grads = nnx.grad(lambda m: m(X).mean())(model)
        optimizer.update(model, grads, batch=X)
    masks = pruning.masks_of(optimizer.opt_state)
    assert pruning.report(model, masks).prunable_weights == (21, 42)
    assert pruning.report(model).prunable_weights == (21, 42)
