"""The bundled networks by name, as pure functions of parameters and state.

:func:`network` gives every network the same face: parameters that are trained, and
``stats``, what a layer keeps from batch to batch without a gradient (running means
and variances of batch-norm). :func:`build` is the short form for networks that keep
nothing. A network of one's own is named by ``module:function``, or by what it was
registered as (:func:`register`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from synaptax.checks import check_choice, named_function
from synaptax.nets import allcnn, layers, lenets, mobilenet, resnets, vgg
from synaptax.typing import Array, Key

InitFn = Callable[[Any], Any]
ApplyFn = Callable[[Any, Any], Any]


class Network(NamedTuple):
    """A network as three pure functions.

    Attributes:
        init: ``(key) -> (params, stats)``, both float32 trees; ``stats`` is ``{}``
            for a network that keeps no state.
        apply: ``(params, stats, x) -> logits``, evaluation mode: batch-norm by its
            running moments, no dropout. x is (B, height, width, channels), any
            floating dtype; logits are (B, classes).
        train: ``(params, stats, x, key) -> (logits, stats)``, training mode:
            batch-norm by the batch's moments, which move the running ones; dropout
            drawn from ``key`` (a typed PRNG key; unused without dropout).
    """

    init: Callable[[Any], tuple[Any, Any]]
    apply: Callable[[Any, Any, Any], Any]
    train: Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class _Entry(NamedTuple):
    """What the table of networks says of one.

    Attributes:
        module: makes the Flax module; its arguments but ``classes`` are the options.
        least: smallest height and width of an image.
        convolutions: the ways it can be convolved.
    """

    module: Callable[..., nn.Module]
    least: int
    convolutions: tuple[str, ...] = layers.CONVOLUTIONS


_TABLE = {
    "lenet300": _Entry(lenets.LeNet300, 1),
    "lenet5": _Entry(lenets.LeNet5, 16, lenets.CONVOLUTIONS),
    "resnet20": _Entry(resnets.resnet20, 4),
    "resnet32": _Entry(resnets.resnet32, 4),
    "resnet18": _Entry(resnets.resnet18, 8),
    "mobilenet_v2": _Entry(mobilenet.MobileNetV2, 8),
    "vgg16": _Entry(vgg.VGG16, 32),
    "allcnn_c": _Entry(allcnn.AllCNNC, 8),
}

NAMES = tuple(_TABLE)
_OWN: dict[str, Callable[..., Any]] = {}
_CHOICES = {
    "initialiser": layers.INITIALISERS,
    "rectify": lenets.RECTIFICATIONS,
}


def network(
    name: str, classes: int, image_shape: tuple[int, ...], **options: Any
) -> Network:
    """Return a bundled network as pure functions.

    Args:
        name: one of :data:`NAMES`, a registered name (:func:`register`), or
            ``module:function``, a function as :func:`register` takes it.
        classes: number of outputs, at least 2.
        image_shape: (height, width, channels) of one image; ``lenet5`` needs sides
            of 16 or more.
        options: of the network: ``initialiser`` (LeNets), ``conv`` (all but
            ``lenet300``), ``rectify`` and ``dropout`` (``lenet5``), ``dropout`` and
            ``input_dropout`` (``allcnn_c``); see their modules.

    Returns:
        The :class:`Network`.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> net = network("lenet5", 10, (28, 28, 1), rectify="full", dropout=0.5)
        >>> params, stats = net.init(jax.random.key(0))
        >>> net.apply(params, stats, jnp.zeros((2, 28, 28, 1))).shape
        (2, 10)
    """
    if classes < 2:
        raise ValueError(f"classes: expected 2 or more, got {classes}")
    shape = tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"image_shape: expected (height, width, channels), got {image_shape}"
        )
    check_name(name)
    if name not in _TABLE:
        make = _OWN.get(name) or named_function(name, "name")
        return _as_face(make(classes, shape, **options), shape, name)
    entry = _TABLE[name]
    _check_options(name, entry, options)
    if min(shape[:2]) < entry.least:
        raise ValueError(
            f"image_shape: {name} needs images of {entry.least}x{entry.least} or more, "
            f"got {image_shape}"
        )
    return _pure(entry.module(classes, **options), shape)


def build(
    name: str, classes: int, image_shape: tuple[int, ...], **options: Any
) -> tuple[InitFn, ApplyFn]:
    """Return a bundled network that keeps no state as two pure functions.

    Args:
        name: as :func:`network` takes it.
        classes: as :func:`network` takes it.
        image_shape: likewise.
        options: likewise.

    Returns:
        ``init_fn(key) -> params`` (float32) and ``apply_fn(params, x) -> logits`` in
        evaluation mode, x of shape (B, height, width, channels), logits of shape
        (B, classes).

    Raises:
        ValueError: if an argument is not as described, or the network keeps state.

    Example:
        >>> init_fn, apply_fn = build("lenet300", 10, (8, 8, 1))
        >>> params = init_fn(jax.random.key(0))
        >>> apply_fn(params, jnp.zeros((2, 8, 8, 1))).shape
        (2, 10)
    """
    net = network(name, classes, image_shape, **options)
    if keeps_state(net):
        raise ValueError(
            f"name: {name} keeps state (batch-norm): take it from models.network"
        )
    return (lambda key: net.init(key)[0]), (lambda params, x: net.apply(params, {}, x))


def check_name(name: str | None, argument: str = "name") -> None:
    """Raise a ValueError unless :func:`network` may know a name; import nothing."""
    if name not in _TABLE and name not in _OWN and ":" not in str(name):
        raise ValueError(
            f"{argument}: unknown {name!r}, expected one of "
            f"{', '.join((*NAMES, *_OWN))}, or module:function"
        )


def register(name: str, make: Callable[..., Any]) -> None:
    """Give a network a name that :func:`network`, and every config, knows.

    Args:
        name: not yet taken.
        make: ``(classes, image_shape, **options)`` -> a :class:`Network`; or a Flax
            Linen module of images, whose ``__call__`` may take ``train``.

    Raises:
        ValueError: if the name is taken, or not a plain one.

    Example:
        >>> register("linear", lambda classes, shape: nn.Sequential(
        ...     [lambda x: x.reshape(x.shape[0], -1), nn.Dense(classes)]))
        >>> params, stats = network("linear", 3, (4, 4, 1)).init(jax.random.key(0))
        >>> jax.tree.map(jnp.shape, params)
        {'layers_1': {'bias': (3,), 'kernel': (16, 3)}}
    """
    if name in (*NAMES, *_OWN) or not name.isidentifier():
        raise ValueError(f"name: expected a new identifier, got {name!r}")
    _OWN[name] = make


def _as_face(model: Any, shape: tuple[int, ...], name: str) -> Network:
    """Return what a user's function model as a network."""
    if isinstance(model, Network):
        return model
    if isinstance(model, nn.Module):
        return _pure(model, shape)
    raise ValueError(
        f"name: {name} made a {type(model).__name__}, expected a Network or a Flax "
        "Linen module"
    )


def as_network(model: Network | ApplyFn) -> Network:
    """Return a network as it is, and ``apply_fn(params, x)`` as one without state.

    The latter's ``init`` raises a TypeError: a bare function cannot make parameters.
    """
    if isinstance(model, Network):
        return model

    def init(key: Any) -> tuple[Any, Any]:
        raise TypeError("a bare apply_fn cannot make parameters")

    return Network(
        init,
        lambda params, stats, x: model(params, x),
        lambda params, stats, x, key: (model(params, x), stats),
    )


def keeps_state(net: Network) -> bool:
    """Say whether a network has ``stats``; nothing is computed."""
    _, stats = jax.eval_shape(net.init, jax.random.key(0))
    return bool(jax.tree.leaves(stats))


def _pure(module: nn.Module, shape: tuple[int, ...]) -> Network:
    """Return a Flax module as pure functions that check their images."""
    # A user's own module may be the same in training and evaluation.
    takes_train = "train" in inspect.signature(type(module).__call__).parameters
    training: dict[str, Any] = {"train": True} if takes_train else {}

    def checked(x: Any) -> Any:
        x = jnp.asarray(x)
        if x.shape[1:] != shape or not jnp.issubdtype(x.dtype, jnp.floating):
            expected = ", ".join(map(str, ("B", *shape)))
            raise ValueError(
                f"x: expected floats of shape ({expected}), got {x.dtype}{x.shape}"
            )
        return x

    def init(key: Key[Array, ""]) -> tuple[Any, Any]:
        # One image of zeros: parameters depend on shapes alone.
        variables = module.init(key, jnp.zeros((1, *shape), jnp.float32))
        return variables["params"], variables.get("batch_stats", {})

    def apply(params: Any, stats: Any, x: Any) -> Any:
        return module.apply({"params": params, "batch_stats": stats}, checked(x))

    def train(params: Any, stats: Any, x: Any, key: Any) -> tuple[Any, Any]:
        logits, moved = module.apply(
            {"params": params, "batch_stats": stats},
            checked(x),
            rngs={"dropout": key},
            mutable=["batch_stats"],
            **training,
        )
        return logits, moved.get("batch_stats", {})

    return Network(init, apply, train)


def _check_options(name: str, entry: _Entry, options: dict[str, Any]) -> None:
    """Raise a ValueError unless each option is the network's own and in its range."""
    names = set(inspect.signature(entry.module).parameters)
    names -= {"classes", "parent", "name"}
    choices = {**_CHOICES, "conv": entry.convolutions}
    for option, value in options.items():
        if option not in names:
            listed = ", ".join(sorted(names))
            raise ValueError(f"{option}: {name} has no such option; it has {listed}")
        if option in choices:
            check_choice(option, value, choices[option])
        if option.endswith("dropout") and not 0 <= value < 1:
            raise ValueError(f"{option}: expected a number in [0, 1), got {value}")
