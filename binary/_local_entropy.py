r"""The entropy of solutions around a given weight vector, by belief propagation.

Solutions W are weighted by exp(gamma What . W). Belief propagation on patterns and
weights, with the sums inside a pattern taken as Gaussian, gives the free entropy phi
and the overlap p of the weighted solutions with What; the entropy of solutions at
distance d = (1 - p) / 2 is S = phi - gamma p. It is exact where the factor graph of
random patterns is dense and replica symmetry holds; it is unreliable at large gamma
around a What that itself makes errors.

Reference: Baldassi et al., arXiv 1710.09825, for the question; Braunstein and Zecchina
(2006) for belief propagation on the binary perceptron.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erfc, log_ndtr

from binary._checks import check_binary, number, numbers
from binary.instances import Instance, check_instance
from synaptax.checks import check_integer
from synaptax.typing import Array


class LocalEntropy(NamedTuple):
    """Local entropies; every field has shape (*batch, G) for G couplings.

    Attributes:
        coupling: float64, gamma.
        distance: float64, mean Hamming distance per weight from the centre.
        entropy: float64, log number of solutions there per weight, in nats.
        free_entropy: float64, phi = S + gamma p.
        converged: boolean; where False the other fields mean nothing.
        sweeps: int32, updates of all messages.
        residual: float64, largest change of a message in the last sweep.

    Example:
        >>> one = binary.instance([[1, 1, 1, 1, 1], [1, -1, 1, 1, -1]])
        >>> around = binary.local_entropy(one, np.ones(5, np.int8), [0.0])
        >>> around.entropy.shape, bool(around.converged[0])
        ((1,), True)
    """

    coupling: np.ndarray
    distance: np.ndarray
    entropy: np.ndarray
    free_entropy: np.ndarray
    converged: np.ndarray
    sweeps: np.ndarray
    residual: np.ndarray


class _Graph(NamedTuple):
    patterns: Array  # (M, N), divided by sqrt(N)
    squares: Array  # (M, N)
    valid: Array  # (M, 1)
    threshold: Array  # scalar
    centre: Array  # (N,)


def _half_log_ratio(up: Array, down: Array) -> Array:
    """Return (log Phi(up) - log Phi(down)) / 2 at a third of the cost of log_ndtr.

    Below -35 the ratio underflows; there log Phi(x) is -x^2 / 2 up to a logarithm.
    """
    # jnp.where computes both sides: the unused one gets arguments of 0, no NaN.
    near = jnp.minimum(up, down) > -35
    safe_up, safe_down = jnp.where(near, up, 0), jnp.where(near, down, 0)
    root = math.sqrt(0.5)
    plain = 0.5 * jnp.log(erfc(-root * safe_up) / erfc(-root * safe_down))
    return jnp.where(near, plain, 0.25 * (down - up) * (down + up))


def _factor_messages(messages: Array, graph: _Graph) -> Array:
    """Return u, half the log-odds that each pattern sends to each weight."""
    x, squares = graph.patterns, graph.squares
    # All (M, N), each the whole sum less the weight's own term:
    #   omega_{mu->i} = sum_{j != i} x_j m_{j->mu} - kappa,
    #   V_{mu->i} = sum_{j != i} x_j^2 (1 - m_{j->mu}^2),
    #   u = [log Phi((omega + x_i) / sqrt V) - log Phi((omega - x_i) / sqrt V)] / 2.
    spread = squares * (1 - messages**2)
    field = jnp.sum(x * messages, axis=1, keepdims=True) - x * messages
    root = jnp.sqrt(jnp.sum(spread, axis=1, keepdims=True) - spread)
    field = field - graph.threshold
    ratio = _half_log_ratio((field + x) / root, (field - x) / root)
    return jnp.where(graph.valid, ratio, 0)


def _weight_messages(u: Array, graph: _Graph, coupling: Array) -> tuple[Array, Array]:
    """Return the messages m to each pattern, and the full fields of the weights."""
    # h_i = gamma What_i + sum_mu u_{mu->i}, (N,)
    # m_{i->mu} = tanh(h_i - u_{mu->i}), (M, N)
    fields = coupling * graph.centre + jnp.sum(u, axis=0)
    return jnp.tanh(fields[None] - u), fields


def _log_2cosh(x: Array) -> Array:
    return jnp.logaddexp(x, -x)


def _bethe(messages: Array, graph: _Graph, coupling: Array) -> tuple[Array, Array]:
    """Return the Bethe free entropy and the overlap with the centre, per weight."""
    # N phi = sum_mu log Phi(omega_mu / sqrt V_mu) + sum_i log 2 cosh h_i
    #         - sum_{i mu} log((1 + m_{i->mu} tanh u_{mu->i}) cosh u_{mu->i})
    u = _factor_messages(messages, graph)
    _, fields = _weight_messages(u, graph, coupling)
    x = graph.patterns
    total = jnp.sum(x * messages, axis=1, keepdims=True) - graph.threshold
    root = jnp.sqrt(jnp.sum(graph.squares * (1 - messages**2), axis=1, keepdims=True))
    factors = jnp.sum(jnp.where(graph.valid, log_ndtr(total / root), 0))
    # log((1 + m tanh u) cosh u): an edge, zero where a pattern is not valid
    edges = jnp.sum(jnp.log1p(messages * jnp.tanh(u)) + _log_2cosh(u) - jnp.log(2.0))
    size = graph.centre.size
    overlap = jnp.mean(graph.centre * jnp.tanh(fields))
    return (factors + jnp.sum(_log_2cosh(fields)) - edges) / size, overlap


def _propagate(
    graph: _Graph,
    couplings: Array,
    damping: float,
    sweeps: int,
    tolerance: float,
) -> tuple[Array, ...]:
    """Follow the fixed point through the couplings, in the order given."""

    def follow(messages: Array, coupling: Array) -> tuple[Array, tuple[Array, ...]]:
        def more(carry: tuple[Array, Array, Array]) -> Array:
            _, residual, count = carry
            return (residual > tolerance) & (count < sweeps)

        def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            old, _, count = carry
            u = _factor_messages(old, graph)
            target, _ = _weight_messages(u, graph, coupling)
            new = damping * old + (1 - damping) * target
            # Of the undamped message: a damped step is small far from convergence, too.
            residual = jnp.max(jnp.where(graph.valid, jnp.abs(target - old), 0))
            return new, residual, count + 1

        start = (messages, jnp.asarray(jnp.inf, messages.dtype), jnp.int32(0))
        messages, residual, count = lax.while_loop(more, sweep, start)
        phi, overlap = _bethe(messages, graph, coupling)
        # d = (1 - p) / 2 and S = phi - gamma p
        point = (0.5 * (1 - overlap), phi - coupling * overlap, phi, count, residual)
        return messages, point

    # Weights as they are before any pattern speaks: m = tanh(gamma What).
    first = jnp.broadcast_to(
        jnp.tanh(couplings[0] * graph.centre), graph.patterns.shape
    )
    return lax.scan(follow, first, couplings)[1]


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _run(
    graphs: _Graph,
    couplings: Array,
    damping: float,
    sweeps: int,
    tolerance: float,
    width: int,
) -> tuple[Array, ...]:
    def one(graph: _Graph) -> tuple[Array, ...]:
        root = math.sqrt(graph.patterns.shape[1])
        wide = graph.patterns.astype(couplings.dtype) / root
        ready = graph._replace(
            patterns=wide, squares=wide**2, centre=graph.centre.astype(couplings.dtype)
        )
        return _propagate(ready, couplings, damping, sweeps, tolerance)

    return lax.map(one, graphs, batch_size=None if width == 1 else width)


def local_entropy(
    instances: Instance,
    weights: Any,
    couplings: Sequence[float] | np.ndarray,
    *,
    damping: float = 0.3,
    sweeps: int = 300,
    tolerance: float = 1e-6,
    width: int = 1,
) -> LocalEntropy:
    r"""Return the local entropy around weight vectors, at a list of couplings.

    .. math:: S(d) = \varphi(\gamma) - \gamma p,\qquad
        \varphi(\gamma) = \frac1N\log\sum_W 1[W \text{ solves}]\,
        e^{\gamma \hat W\cdot W},\qquad d = (1-p)/2

    Args:
        instances: one instance, or a batch with a leading axis.
        weights: (N,) or (B, N) of +-1, the centres; they need not be solutions.
        couplings: gamma >= 0, increasing order converges fastest: each starts from
            the fixed point of the one before.
        damping: the share of the old message kept in an update, in [0, 1).
        sweeps: the most updates at one coupling.
        tolerance: largest change of a message that counts as converged.
        width: instances propagated at once; the others wait, to save memory.

    Returns:
        A :class:`LocalEntropy` of NumPy arrays in float64, of shape (G,) or (B, G).

    Raises:
        ValueError: for weights that are not +-1 or do not fit the instances, no
            coupling or a negative one, damping outside [0, 1), or less than one sweep.

    Example:
        >>> one = binary.instance([[1, 1, 1, 1, 1], [1, -1, 1, 1, -1]])
        >>> around = binary.local_entropy(one, np.ones(5, np.int8), [0.0, 0.5])
        >>> around.entropy.shape, bool(around.distance[1] < around.distance[0])
        ((2,), True)
    """
    check_instance(instances, "instances", (2, 3))
    check_binary(weights, "weights")
    weights, shape = np.asarray(weights), instances.patterns.shape
    gammas = np.asarray(numbers(couplings, "couplings"), np.float64)
    _check(shape, weights, gammas)
    damping = number("damping", damping, "a number in [0, 1)", lambda x: 0 <= x < 1)
    expected = "a finite number > 0"
    tolerance = number("tolerance", tolerance, expected, lambda x: 0 < x < math.inf)
    sweeps, width = check_integer("sweeps", sweeps, 1), check_integer("width", width, 1)
    single = len(shape) == 2
    host = jax.tree.map(np.asarray, instances)
    # Squares are made from the patterns in _run; here they only fill the field.
    graphs = _Graph(
        host.patterns, host.patterns, host.valid[..., None], host.margin, weights
    )
    if single:
        graphs = jax.tree.map(lambda leaf: leaf[None], graphs)
    # In float64: V sums 1 - m^2, which float32 loses as messages saturate.
    with jax.enable_x64(True):
        graphs = jax.tree.map(jnp.asarray, graphs)
        graphs = graphs._replace(threshold=graphs.threshold.astype(jnp.float64))
        outputs = _run(
            graphs,
            jnp.asarray(gammas),
            damping,
            sweeps,
            tolerance,
            width,
        )
    columns = [np.asarray(leaf)[0] if single else np.asarray(leaf) for leaf in outputs]
    distance, entropy, phi, count, residual = columns
    return LocalEntropy(
        coupling=np.broadcast_to(gammas, distance.shape),
        distance=distance,
        entropy=entropy,
        free_entropy=phi,
        converged=residual <= tolerance,
        sweeps=count,
        residual=residual,
    )


def _check(shape: tuple[int, ...], weights: np.ndarray, gammas: np.ndarray) -> None:
    if weights.shape != (*shape[:-2], shape[-1]):
        raise ValueError(
            f"weights: expected one vector an instance, {(*shape[:-2], shape[-1])}, "
            f"got {weights.shape}"
        )
    if gammas.ndim != 1 or not gammas.size or not np.all((gammas >= 0) & (gammas < 50)):
        raise ValueError(
            f"couplings: expected at least one number in [0, 50), got {gammas}"
        )
