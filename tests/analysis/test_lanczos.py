"""The guard and the restarts on matrices of every awkward kind, in both precisions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import lanczos

SIZE, K = 40, 5
# In float64 the clusters are wider than rounding, and converge last.
TOLERANCE = {"float32": 1e-5, "float64": 1e-7}
EACH = 30


def spectra(random):
    """Return name to eigenvalues: the kinds that break a plain Lanczos iteration."""
    rank = random.integers(1, 13)
    low = np.zeros(SIZE)
    low[:rank] = random.uniform(1, 2, rank)
    indefinite = low * random.choice([-1, 1], SIZE)
    centres = random.uniform(-2, 2, 4)
    return {
        "full": random.uniform(-1, 3, SIZE),
        "negative": random.uniform(-3, -1, SIZE),
        "rank-deficient": low,
        "indefinite, rank-deficient": indefinite,
        "repeated": centres[random.integers(0, 4, SIZE)],
        "clustered": centres[random.integers(0, 4, SIZE)]
        + 1e-7 * random.normal(size=SIZE),
        "zero": np.zeros(SIZE),
        "identity": np.ones(SIZE),
        "tiny": 1e-12 * low,
    }


def matrices(dtype):
    """Return stacked (names, matrices, eigenvalues in float64)."""
    random = np.random.default_rng(0)
    names, stack, wanted = [], [], []
    for _ in range(EACH):
        for name, values in spectra(random).items():
            q = np.linalg.qr(random.normal(size=(SIZE, SIZE)))[0]
            matrix = (q * values) @ q.T
            matrix = ((matrix + matrix.T) / 2).astype(dtype)
            names.append(name)
            stack.append(matrix)
            wanted.append(np.linalg.eigvalsh(matrix.astype(np.float64))[::-1])
    return names, jnp.asarray(np.stack(stack)), np.stack(wanted)


@functools.partial(jax.jit, static_argnames="order")
def found_by_lanczos(stack, key, order):
    def one(matrix, key):
        return lanczos.top_ritz(
            lambda v: matrix @ v,
            key,
            K,
            size=SIZE,
            steps=30,
            restarts=2 * K + 2,
            order=order,
            dtype=matrix.dtype,
        )

    return jax.vmap(one)(stack, jax.random.split(key, stack.shape[0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_kind_of_matrix_is_got_wrong(key, dtype):
    with jax.enable_x64(dtype == "float64"):
        names, stack, wanted = matrices(dtype)
        assert len(names) >= 200
        found = jax.tree.map(np.asarray, found_by_lanczos(stack, key, "largest"))
        assert found.values.dtype == dtype
        scale = np.abs(wanted).max(axis=1) + 1e-300
        error = np.abs(found.values - wanted[:, :K]).max(axis=1) / scale
        wrong = [names[i] for i in np.flatnonzero(~(error < TOLERANCE[dtype]))]
        assert wrong == []
        # What is said of the pairs is true: residuals, orthonormal vectors.
        vectors = found.vectors.astype(np.float64)
        products = vectors @ np.asarray(stack, np.float64)
        left = products - found.values[..., None] * vectors
        off = np.abs(np.linalg.norm(left, axis=2) - found.residuals) / scale[:, None]
        assert off.max() < 1e-5
        assert np.all(found.residuals < 1e-3 * scale[:, None])
        inner = vectors @ vectors.transpose(0, 2, 1)
        np.testing.assert_allclose(
            inner, np.broadcast_to(np.eye(K), inner.shape), atol=1e-5
        )


def test_the_order_of_magnitude(key):
    names, stack, wanted = matrices("float32")
    few = len(spectra(np.random.default_rng(0))) * 3
    found = np.asarray(found_by_lanczos(stack[:few], key, "magnitude").values)
    for name, values, truth in zip(names, found, wanted, strict=False):
        # Signs of equal magnitudes may come in any order.
        best = np.sort(np.abs(truth))[::-1][:K]
        gap = np.abs(np.abs(values) - best).max()
        assert gap < 1e-5 * best[0] + 1e-30, name


def test_the_smallest_come_first(key):
    values = jnp.linspace(-3.0, 1.0, 12)
    found = lanczos.top_ritz(
        lambda v: values * v, key, 3, size=12, steps=12, restarts=2, order="smallest"
    )
    np.testing.assert_allclose(found.values, values[:3], rtol=1e-5)


@functools.partial(jax.jit, static_argnames="steps")
def run_on_diagonal(diagonal, start, steps):
    found = lanczos.run(lambda v: diagonal * v, start, steps)
    return found, *lanczos.eigen(found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 5, 10])
def test_a_run_stops_where_the_krylov_space_ends(key, dtype, rank):
    with jax.enable_x64(dtype == "float64"):
        diagonal = np.zeros(50, dtype)
        diagonal[:rank] = np.linspace(1, 2, rank)
        start = jax.random.normal(key, (50,), jnp.dtype(dtype))
        found, values, _, valid = run_on_diagonal(jnp.asarray(diagonal), start, 30)
        # The distinct eigenvalues, 0 among them; a step more does no harm as long as
        # the basis is orthonormal.
        assert rank + 1 <= int(found.valid) <= rank + 2
        values = np.asarray(values)[np.asarray(valid)]
        assert values.size == int(found.valid)
        wanted = np.linspace(1, 2, rank) if rank > 1 else [1]
        np.testing.assert_allclose(values[-rank:], wanted, rtol=1e-5)
        np.testing.assert_allclose(values[:-rank], 0, atol=1e-5)
        basis = np.asarray(found.basis)
        eye = np.diag((np.arange(30) < int(found.valid)).astype(dtype))
        np.testing.assert_allclose(basis.T @ basis, eye, atol=1e-5)


def test_valid_steps_by_hand():
    eps = float(jnp.finfo(jnp.float32).eps)
    steps = lambda d, o, s=0.0: int(lanczos.valid_steps(jnp.array(d), jnp.array(o), s))
    assert steps([1.0, 1, 1], [0.5, 0.5]) == 3
    assert steps([1.0, 1, 1], [0.5, 999 * eps]) == 2
    assert steps([1.0, 1, 1], [0.5, 1001 * eps]) == 3
    assert steps([1.0, 1, 1], [0.0, np.nan]) == 1
    assert steps([0.0, np.nan, 0], [0.0, np.nan]) == 1
    assert steps([1e-3, 9.0, 1], [0.5e-3, 0.5]) == 3  # only what came before counts
    assert steps([1e-3, 9.0, 1], [0.5e-3, 0.5], 1e3) == 1


def test_the_off_diagonal_is_what_each_step_leaves_over():
    """Not the basis's other product, which a matrix without symmetry tells apart."""
    matrix = jnp.asarray([[1.0, 5.0, 0.0], [2.0, 3.0, 4.0], [0.0, 7.0, 1.0]])
    small = lanczos.run(lambda v: matrix @ v, jnp.asarray([1.0, 0.0, 0.0]), 3)
    np.testing.assert_allclose(small.off_diagonal, [2.0, 7.0], rtol=1e-6)


def test_without_restarts_what_is_missing_is_said_to_be(key):
    found = lanczos.top_ritz(
        lambda v: v, key, 3, size=8, steps=4, restarts=0, dtype=jnp.float32
    )
    np.testing.assert_allclose(found.values, [1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(np.isinf(found.residuals), [False, True, True])
    assert int(found.runs) == 1 and int(found.steps) == 1


def test_vectors_stay_in_their_support(key):
    support = jnp.arange(12) % 3 == 0
    values = jnp.where(support, jnp.arange(12.0) - 20, 0)
    found = lanczos.top_ritz(
        lambda v: values * v, key, 4, size=12, steps=4, restarts=4, support=support
    )
    # All eigenvalues on the support are negative, and no zero from elsewhere gets in.
    np.testing.assert_allclose(found.values, [-11, -14, -17, -20], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(found.vectors)[:, ~np.asarray(support)], 0)


def test_steps_out_of_range():
    for steps in (0, 4):
        with pytest.raises(ValueError, match="steps: expected 1 to 3"):
            lanczos.run(lambda v: v, jnp.ones(3), steps)


def test_without_matfree(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matfree", None)
    with pytest.raises(ImportError, match=r"pip install 'synaptax\[analysis\]'"):
        lanczos.run(lambda v: v, jnp.ones(3), 2)
