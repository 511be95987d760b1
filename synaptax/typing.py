"""Array types for signatures, with a stand-in where jaxtyping is absent.

The numerical core imports with jax, flax, optax and numpy alone; jaxtyping only
adds shape checks, which the tests switch on together with beartype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jax import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Key, PyTree, Shaped
else:
    try:
        from jaxtyping import Bool, Float, Int, Key, PyTree, Shaped
    except ImportError:

        class _Anything:
            """Stand in for a jaxtyping type: any subscript means ``Any``."""

            def __class_getitem__(cls, _item: Any) -> Any:
                return Any

        Bool = Float = Int = Key = Shaped = PyTree = _Anything

__all__ = ["Array", "Bool", "Float", "Int", "Key", "PyTree", "Shaped"]
