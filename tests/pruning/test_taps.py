import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import taps
from pruning._contract import convolve_by_patches, plan
from tests.pruning.networks import CASES, draw


@pytest.mark.parametrize("name", CASES)
def test_evaluation_with_zero_probes_is_the_network(name):
    case = CASES[name]("float32")
    program = taps.trace(case.apply_fn, case.params, case.x, batch=1)
    fixed = taps.parameter_values(program, jax.tree.leaves(case.params))
    probes = taps.zero_probes(program, taps.meetings(program))
    y, records = taps.evaluate(program, fixed, [case.x[:1]], probes)
    np.testing.assert_allclose(y, case.apply_fn(case.params, case.x[:1]), rtol=1e-5)
    assert set(records) == set(probes)


def test_a_probe_adds_to_the_output_of_its_equation():
    program = taps.trace(
        lambda w, x: 2 * (x @ w), jnp.eye(3), jnp.ones((5, 3)), batch=1
    )
    (meeting,) = taps.meetings(program)
    fixed = taps.parameter_values(program, [jnp.eye(3)])
    x, probe = draw(1, 1, 3), draw(2, 1, 3)
    y, records = taps.evaluate(program, fixed, [x], {meeting: [probe]})
    np.testing.assert_allclose(y, 2 * (x + probe), rtol=1e-6)
    activation, weight = records[meeting]
    np.testing.assert_array_equal(activation, x)
    assert weight is None  # it does not depend on x, so there is nothing to record


def test_each_meeting_is_found_once_per_use():
    case = CASES["twice"]("float32")
    program = taps.trace(case.apply_fn, case.params, case.x, batch=1)
    assert len(taps.meetings(program)) == 3
    (leaf,) = plan(program)
    assert len(leaf.uses) == 3 and leaf.apart


def test_dense_layers_are_outer_products_and_token_layers_are_not():
    dense = CASES["mlp"]("float32")
    kinds = {
        p.leaf: (p.row is not None, p.added)
        for p in plan(taps.trace(dense.apply_fn, dense.params, dense.x, batch=1))
    }
    # Leaves in flattening order: b, c, v, w.
    assert kinds == {
        0: (False, True),
        1: (False, True),
        2: (True, False),
        3: (True, False),
    }
    tokens = CASES["tokens"]("float32")
    plans = plan(taps.trace(tokens.apply_fn, tokens.params, tokens.x, batch=1))
    assert all(p.apart for p in plans if p.leaf != 1)  # v is one row an example


def test_custom_rules_survive():
    # relu's own rule gives 0 at 0; the derivative of max(x, 0) would give 1/2.
    program = taps.trace(
        lambda w, x: jax.nn.relu(x * w[None]), jnp.ones(2), jnp.ones((3, 2)), batch=1
    )
    (meeting,) = taps.meetings(program)
    fixed = taps.parameter_values(program, [jnp.zeros(2)])

    def run(probes):
        return taps.evaluate(program, fixed, [jnp.ones((1, 2))], probes)[0].sum()

    cotangent = jax.grad(run)(taps.zero_probes(program, [meeting]))
    np.testing.assert_array_equal(cotangent[meeting][0], 0.0)


def test_any_function_is_traced_whole_with_its_scopes_and_run_by_a_visitor():
    def function(params, x, shift):
        with jax.named_scope("outer"):
            h = jax.jit(jax.named_scope("inner")(jnp.sin))(x * params["w"])
            return {"y": jax.nn.silu(h + shift), "w": params["w"]}

    params, x = {"w": draw(1, 3)}, draw(2, 3)
    is_silu = lambda eqn: eqn.params.get("name") == "silu"
    program, structure = taps.trace_whole(function, params, x, 1.0, keep=is_silu)
    seen = {}

    def visit(index, eqn, values):
        assert program.equations[index] is eqn
        seen[eqn.params.get("name", eqn.primitive.name)] = eqn.scope
        out = taps.bind(eqn, values)
        return [2 * one for one in out] if eqn.primitive.name == "sin" else out

    fixed = taps.parameter_values(program, [params["w"]])
    found = structure.unflatten(taps.run(program, fixed, [x, 1.0], visit))
    wanted = jax.nn.silu(2 * jnp.sin(x * params["w"]) + 1)
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-6)
    np.testing.assert_array_equal(found["w"], params["w"])
    assert seen["sin"] == ("outer", "inner") and seen["silu"] == ("outer",)


def test_the_bodies_of_a_loop_and_a_branch_are_found():
    def function(w, x):
        x = jax.lax.scan(lambda c, _: (jnp.tanh(c), None), x, length=2)[0]
        return jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x) * w

    program, _ = taps.trace_whole(function, jnp.ones(3), jnp.ones(3))
    bodies = {
        eqn.primitive.name: [
            [inner.primitive.name for inner in body.equations]
            for body in taps.inside(eqn)
        ]
        for eqn in program.equations
        if taps.inside(eqn)
    }
    assert bodies == {"scan": [["tanh"]], "cond": [["cos"], ["sin"]]}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda p, x: (x @ p, x), r"expected one array of shape \(B, C\)"),
        (lambda p, x: (x @ p)[:, 0], r"expected one array of shape \(B, C\)"),
        (lambda p, x: (x @ p).sum(0, keepdims=True).repeat(2, 0), r"shape \(B, C\)"),
    ],
)
def test_wrong_outputs_are_named(function, text):
    with pytest.raises(ValueError, match=text):
        taps.trace(function, jnp.ones((4, 3)), jnp.ones((5, 4)), batch=1)


@pytest.mark.parametrize("seed", range(6))
def test_patches_give_the_convolution(seed):
    rng = np.random.default_rng(seed)
    spatial, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    pick = lambda low, high: tuple(int(v) for v in rng.integers(low, high, spatial))
    size, kernel = pick(5, 8), pick(1, 4)
    letters = "DHW"[:spatial]
    numbers = jax.lax.conv_dimension_numbers(
        (2, *size, 2 * groups),
        (*kernel, 2, 3 * groups),
        (f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )
    options = {
        "window_strides": pick(1, 3),
        "padding": tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (spatial, 2))),
        "lhs_dilation": pick(1, 3),
        "rhs_dilation": pick(1, 3),
        "dimension_numbers": numbers,
        "feature_group_count": groups,
        "precision": None,
    }
    x, w = draw(seed, 2, *size, 2 * groups), draw(seed + 9, *kernel, 2, 3 * groups)
    wanted = jax.lax.conv_general_dilated(x, w, **options)
    np.testing.assert_allclose(
        convolve_by_patches(x, w, **options), wanted, rtol=1e-4, atol=1e-4
    )
