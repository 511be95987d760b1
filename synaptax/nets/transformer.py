"""A small causal transformer over characters, in Flax Linen."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from synaptax.typing import Array, Float, Int


class Block(nn.Module):
    """Attention and a two-layer perceptron, each on the normalised stream, added to it.

    Attributes:
        heads: attention heads, at least 1.
        size: features of a head.
        hidden: hidden units of the perceptron.
    """

    heads: int
    size: int
    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Array:
        """Return the stream after the block."""
        y = nn.LayerNorm(name="LayerNorm_0")(x)
        query, key, value = (
            nn.DenseGeneral((self.heads, self.size), name=name)(y)
            for name in ("query", "key", "value")
        )
        # softmax(q k^T / sqrt(size)), each position by itself and those before it
        logits = jnp.einsum("bthd,bshd->bhts", query, key) / self.size**0.5
        past = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        weights = nn.softmax(jnp.where(past, logits, -jnp.inf))
        mixed = jnp.einsum("bhts,bshd->bthd", weights, value)
        x = x + nn.DenseGeneral(x.shape[-1], axis=(-2, -1), name="out")(mixed)
        y = nn.LayerNorm(name="LayerNorm_1")(x)
        y = nn.gelu(nn.Dense(self.hidden, name="Dense_0")(y))
        return x + nn.Dense(x.shape[-1], name="Dense_1")(y)


class CharTransformer(nn.Module):
    """Embedding, blocks, a last norm, and the logits of the next character.

    Attributes:
        vocabulary: number of characters.
        context: longest text.
        width: features of the stream.
        size: features of a head.
        heads: heads of each block.
        hidden: hidden units of each block.
    """

    vocabulary: int
    context: int = 64
    width: int = 128
    size: int = 32
    heads: tuple[int, ...] = (4, 4)
    hidden: tuple[int, ...] = (512, 512)

    @nn.compact
    def __call__(self, x: Int[Array, "B T"], *, train: bool = False) -> Array:
        """Return logits, shape (B, T, vocabulary); T is at most ``context``."""
        del train  # nothing differs
        place = self.param(
            "place", nn.initializers.normal(0.02), (self.context, self.width)
        )
        stream = nn.Embed(self.vocabulary, self.width, name="Embed_0")(x)
        stream = stream + place[: x.shape[1]][None]
        for index, (heads, hidden) in enumerate(
            zip(self.heads, self.hidden, strict=True)
        ):
            stream = Block(heads, self.size, hidden, name=f"Block_{index}")(stream)
        stream = nn.LayerNorm(name="LayerNorm_0")(stream)
        return nn.Dense(self.vocabulary, name="Dense_0")(stream)
