"""What the configs of all kinds of run share: help texts and checks of fields."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints


def Help(*, help: str, hint: str | None = None) -> Any:
    """Return tyro's marker for a help text; nothing where tyro is absent.

    Args:
        help: the text.
        hint: what stands after it; default: the default value.
    """
    try:
        import tyro
    except ImportError:
        return None
    return tyro.conf.arg(help=help, help_behavior_hint=hint)


def NotHelp(*, help: str) -> Any:
    """Return the marker of a field that is True by default: what ``--no-NAME`` does."""
    return Help(help=help, hint="(default: False)")


def check_fields(
    config: Any,
    *,
    at_least: Mapping[str, int],
    finite: Iterable[str] = (),
    shares: Iterable[str] = (),
    epochs: Iterable[str] = (),
) -> None:
    """Raise a ValueError that names the first field that is not in its own range.

    Args:
        config: a dataclass with ``seeds``; each field of a ``Literal`` type must have
            one of its values.
        at_least: field -> smallest integer.
        finite: fields that are None, or finite and >= 0.
        shares: fields in [0, 1).
        epochs: fields that hold epochs >= 1 that rise.
    """
    check_choices(config)
    check_at_least(config, at_least)
    check_finite(config, finite)
    check_shares(config, shares)
    check_epochs(config, epochs)
    check_seeds(config.seeds)


def check_choices(config: Any) -> None:
    """Raise a ValueError unless every field of a ``Literal`` type has such a value."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if choices and value not in choices:
            raise ValueError(
                f"{name}: unknown {value!r}, expected one of {', '.join(choices)}"
            )


def check_at_least(config: Any, least: Mapping[str, int]) -> None:
    """Raise a ValueError unless each named field is at least its number."""
    for name, number in least.items():
        value = getattr(config, name)
        if value < number:
            raise ValueError(f"{name}: expected at least {number}, got {value}")


def check_finite(config: Any, names: Iterable[str]) -> None:
    """Raise a ValueError unless each named field is None or finite and >= 0."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: expected a finite number >= 0, got {value}")


def check_shares(config: Any, names: Iterable[str]) -> None:
    """Raise a ValueError unless each named field is in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise ValueError(f"{name}: expected a number in [0, 1), got {value}")


def check_epochs(config: Any, names: Iterable[str]) -> None:
    """Raise a ValueError unless each named field holds epochs >= 1 that rise."""
    for name in names:
        drops = getattr(config, name)
        if list(drops) != sorted(set(drops)) or any(epoch < 1 for epoch in drops):
            raise ValueError(f"{name}: expected epochs >= 1 that rise, got {drops}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise a ValueError unless there are seeds, all different and >= 0."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected one or more, all different: {seeds}")
    if min(seeds) < 0:
        raise ValueError(f"seeds: expected integers >= 0, got {seeds}")
