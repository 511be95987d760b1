"""An epoch of one small network, beside NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning.gradual import loop
from pruning.gradual.config import Config
from pruning.gradual.loop import Rules
from pruning.gradual.methods import every_leaf, transform
from pruning.masks import full_mask, threshold_mask
from pruning.transforms import masks_of
from synaptax.data.images import Batch, epoch_order
from synaptax.training import evaluation
from synaptax.training.replicas import over_replicas

CLASSES, INPUTS = 3, 5
CONFIG = Config(method="l2", rate=1e-3, momentum=0.5, lr=2.0)  # restless: it cuts
RULES = Rules(True, 1, 0.0, 0.2, every_leaf)


def apply_fn(params, image):
    return image @ params["kernel"] + params["bias"].reshape(1, -1)


def batch(count, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, count).astype(np.int32)
    image = rng.normal(size=(count, INPUTS)).astype(np.float32)
    image[:, :CLASSES] += np.eye(CLASSES, dtype=np.float32)[label]
    return Batch(jnp.asarray(image), jnp.asarray(label))


def weights(seed=1):
    kernel = jax.random.normal(jax.random.key(seed), (INPUTS, CLASSES))
    return {"kernel": kernel, "bias": jnp.array([0.1, -0.2, 0.3])}


def replica(rules=RULES, seed=1, config=CONFIG):
    tx = transform(config, apply_fn, CLASSES, lr=config.lr, decay=True)
    params = weights(seed)
    start = loop.start(params, jax.random.key(7), tx, full_mask(params), rules)
    return start, tx


def numpy_loss_and_error(params, data):
    logits = np.asarray(data.image, np.float64) @ np.asarray(params["kernel"])
    logits = logits + np.asarray(params["bias"])
    wrong = logits.argmax(1) != np.asarray(data.label)
    logits -= logits.max(1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    chosen = logp[np.arange(len(logp)), np.asarray(data.label)]
    return -chosen.mean(), wrong.mean()


@pytest.mark.parametrize("count", [1, 499, 500, 1000, 1203])
def test_evaluate_uses_every_example_once(count):
    data = batch(count, seed=count)
    loss, error = evaluation.evaluate(apply_fn, weights(), data)
    want_loss, want_error = numpy_loss_and_error(weights(), data)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    np.testing.assert_allclose(error, want_error, rtol=1e-6)
    assert loss.dtype == error.dtype == jnp.float32


def test_start_applies_the_masks_it_is_given():
    params = weights()
    masks = threshold_mask(params, 0.5, prunable=every_leaf)
    _, tx = replica()
    begun = loop.start(params, jax.random.key(0), tx, masks, RULES)
    for name, leaf in begun.params.items():
        np.testing.assert_array_equal(leaf, np.where(masks[name], params[name], 0))
        np.testing.assert_array_equal(masks_of(begun.opt_state)[name], masks[name])
    assert jnp.isinf(begun.best.loss)


def test_plain_decay_takes_the_leaves_that_may_be_cut():
    config = Config(method="l2", rate=0.5, prunable="weights")
    ones = jnp.ones((2, 2))
    params = {"shift": {"kernel": ones, "bias": ones}}  # a module's name says nothing
    tx = transform(config, apply_fn, CLASSES, lr=0.1, decay=True)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    np.testing.assert_array_equal(updates["shift"]["kernel"], -0.5)
    np.testing.assert_array_equal(updates["shift"]["bias"], 0)


def test_an_epoch_is_sgd_on_every_example_in_the_drawn_order():
    config = Config(method="l2", rate=1e-2, lr=0.1)
    begun, tx = replica(RULES._replace(cuts=False), config=config)
    train, held = batch(20), batch(30, seed=5)
    run = jax.jit(
        lambda state, number: loop.epoch(
            state,
            number,
            train,
            held,
            apply_fn=apply_fn,
            tx=tx,
            rules=RULES._replace(cuts=False),
            batch=5,
        )
    )
    got, info = run(begun, jnp.int32(3))
    order = epoch_order(jax.random.fold_in(begun.key, 3), 20, 5)
    assert sorted(np.ravel(order)) == list(range(20))
    slope = jax.jit(
        jax.value_and_grad(
            lambda p, part: evaluation.cross_entropy(
                apply_fn(p, part.image), part.label
            ).mean()
        )
    )
    params, losses = begun.params, []
    for index in order:
        part = Batch(train.image[index], train.label[index])
        loss, grads = slope(params, part)
        losses.append(loss)
        params = jax.tree.map(lambda w, g: w - 0.1 * g - 1e-2 * w, params, grads)
    np.testing.assert_allclose(info.losses, losses, rtol=1e-5)
    for name, leaf in params.items():
        np.testing.assert_allclose(got.params[name], leaf, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(got.best.params[name], got.params[name])
    loss, error = numpy_loss_and_error(got.params, held)
    np.testing.assert_allclose([info.loss, got.best.loss], loss, rtol=1e-5)
    np.testing.assert_allclose([info.error, got.best.error], error, rtol=1e-6)
    assert not info.cut


@pytest.fixture(scope="module")
def trail():
    """Run epochs that often cut; return the validation set and what happened."""
    train, held = batch(40), batch(60, seed=5)
    state, tx = replica()
    run = jax.jit(
        lambda m, n: loop.epoch(
            m, n, train, held, apply_fn=apply_fn, tx=tx, rules=RULES, batch=10
        )
    )
    steps = []
    for number in range(16):
        after, info = run(state, jnp.int32(number))
        steps.append((state, info, after))
        state = after
    assert run._cache_size() == 1, "an epoch is compiled once"
    return held, steps


def test_a_cut_starts_from_the_best_weights_and_keeps_the_bound(trail):
    held, steps = trail
    cuts = [(info, after) for _, info, after in steps if info.cut]
    assert len(cuts) >= 3
    for info, after in cuts:
        best, threshold = info.before, float(info.threshold)
        bound = (1 + RULES.tolerance) * float(best.loss)
        assert numpy_loss_and_error(after.params, held)[0] <= bound * (1 + 1e-5)
        for name, leaf in best.params.items():
            kept = np.abs(leaf) >= threshold
            np.testing.assert_array_equal(
                after.params[name], np.where(kept & (leaf != 0), leaf, 0)
            )
        assert jnp.isinf(after.best.loss), "what is best is forgotten with the cut"


def test_between_cuts_the_best_is_the_lowest_validation_loss(trail):
    _, steps = trail
    seen = []
    for _, info, after in steps:
        seen.append(float(info.loss))
        assert float(info.before.loss) == min(seen)
        if info.cut:
            seen = []
        else:
            assert float(after.best.loss) == min(seen)


def test_what_is_cut_stays_cut(trail):
    _, steps = trail
    dead = jax.tree.map(jnp.zeros_like, full_mask(weights()))
    for _, info, after in steps:
        for name, leaf in after.params.items():
            assert not np.any(np.asarray(leaf)[np.asarray(dead[name])])
            if info.cut:
                dead[name] = ~masks_of(after.opt_state)[name]
    assert sum(int(leaf.sum()) for leaf in dead.values()) > 0


def test_map_and_vmap_agree_over_seeds():
    train, held = batch(40), batch(60, seed=5)
    replicas = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(replica(seed=s)[0] for s in (1, 2, 3))
    )
    _, tx = replica()

    def epoch(state, number):
        return loop.epoch(
            state, number, train, held, apply_fn=apply_fn, tx=tx, rules=RULES, batch=10
        )

    ends = {}
    for axis in ("map", "vmap"):
        run = jax.jit(over_replicas(axis, epoch))
        state, cuts = replicas, []
        for number in range(6):
            state, info = run(state, jnp.int32(number))
            cuts.append(info.cut)
        ends[axis] = (state.params, state.best, jnp.stack(cuts))
    assert ends["map"][2].any() and not ends["map"][2].all()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        ends["map"],
        ends["vmap"],
    )
    for index, seed in enumerate((1, 2, 3)):
        state = replica(seed=seed)[0]
        run = jax.jit(epoch)
        for number in range(6):
            state, _ = run(state, jnp.int32(number))
        for name, leaf in state.params.items():
            np.testing.assert_allclose(
                leaf, ends["map"][0][name][index], rtol=1e-4, atol=1e-6
            )
