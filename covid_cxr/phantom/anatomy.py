"""A chest as a few smooth shapes: where the lungs are, and how dense each place is.

Positions are in [-1, 1] from the radiograph's centre, y down and x to the viewer's
right, so the right lung is at x < 0, as when it is read face to face. It is upright, so
y is a column (H, 1) and x a row (1, W), and what depends on one alone is computed once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from synaptax.typing import Array, Float, Key


class Anatomy(NamedTuple):
    """A patient's shape, all scalars; the same in each of their radiographs.

    Attributes:
        width: of the lungs.
        height: of the lungs.
        heart: size of the heart.
        tilt: how far the left diaphragm lies below the right.
        muscle: density of the soft tissue.
        ribs: phase of the ribs.
        roughness: strength of the vessels' texture.
    """

    width: Array
    height: Array
    heart: Array
    tilt: Array
    muscle: Array
    ribs: Array
    roughness: Array


class Shapes(NamedTuple):
    """A chest on a radiograph.

    Attributes:
        density: (H, W) in about [0, 1] without opacities.
        lungs: (2, H, W) soft membership of the right and the left lung, in [0, 1].
    """

    density: Array
    lungs: Array


def draw(key: Key[Array, ""]) -> Anatomy:
    """Return one patient's anatomy."""
    u = jax.random.uniform(key, (7,), minval=-1.0, maxval=1.0)
    return Anatomy(
        width=0.27 + 0.025 * u[0],
        height=0.56 + 0.05 * u[1],
        heart=0.27 + 0.03 * u[2],
        tilt=0.04 + 0.03 * u[3],
        muscle=0.58 + 0.05 * u[4],
        ribs=3.0 * u[5],
        roughness=0.05 + 0.02 * u[6],
    )


def soft(signed: Array, edge: float | Array) -> Array:
    """Return 1 well inside (signed > 0), 0 well outside, over about ``edge``."""
    return 0.5 * (1 + jnp.tanh(signed / edge))


def lung(y: Array, x: Array, anatomy: Anatomy, side: float, heart: Array) -> Array:
    """Return a lung's signed membership: > 0 inside.

    A superellipse, cut below by the dome of the diaphragm and inwards by the heart.

    Args:
        y: (H, 1) positions.
        x: (1, W) positions.
        anatomy: the patient.
        side: -1 for the right lung, 1 for the left.
        heart: (H, W) signed membership of the heart.

    Returns:
        (H, W), about the distance to the edge.
    """
    across = (x - side * 0.36) / anatomy.width
    up = (y + 0.05) / anatomy.height
    # Narrow at the top, wide at the base.
    across = across / (1 + 0.22 * up)
    body = 0.25 * (1 - jnp.abs(across) ** 2.4 - jnp.abs(up) ** 2.4)
    dome = 0.36 + 0.5 * (1 + side) * anatomy.tilt
    floor = dome + 0.9 * (x - side * 0.32) ** 2 - y
    return jnp.minimum(jnp.minimum(body, floor), -heart)


def chest(y: Array, x: Array, anatomy: Anatomy, ap: Array) -> Shapes:
    """Return the chest at some positions.

    Args:
        y: (H, 1) positions in the patient's frame.
        x: (1, W) positions.
        anatomy: the patient.
        ap: scalar in [0, 1]: 1 for an AP radiograph, which enlarges the heart and lifts
            the shoulders over the apices.

    Returns:
        Density and lungs.
    """
    edge = 0.02
    size = anatomy.heart * (1 + 0.22 * ap)
    heart = 0.25 * (
        1
        - ((x - 0.10 + 0.15 * (y - 0.2)) / (1.05 * size)) ** 2
        - ((y - 0.22) / (0.88 * size)) ** 2
    )
    signed = jnp.stack([lung(y, x, anatomy, side, heart) for side in (-1.0, 1.0)])
    lungs = soft(signed, edge)
    air = lungs[0] + lungs[1]
    shoulder = 0.80 - 0.12 * ap
    trunk = soft(0.84 + 0.10 * soft(-0.45 - y, 0.1) - jnp.abs(x), 0.03)
    neck = soft(0.22 - jnp.abs(x), 0.04)
    body = trunk * soft(y + shoulder - 0.35 * jnp.abs(x) ** 2, 0.04)
    body = jnp.maximum(body, neck)
    spine = soft(0.09 - jnp.abs(x), 0.03)
    density = anatomy.muscle * body
    density = density + (0.20 * soft(heart, 0.06) + 0.14 * spine) * body
    density = density * (1 - 0.68 * air)
    return Shapes(density + bones(y, x, anatomy, air, ap) * body, lungs)


def bones(y: Array, x: Array, anatomy: Anatomy, air: Array, ap: Array) -> Array:
    """Return (H, W) density of ribs and clavicles."""
    arcs = jnp.sin(26.0 * (y + 0.55 * x**2) + anatomy.ribs)
    ribs = 0.07 * soft(arcs - 0.45, 0.25) * soft(0.78 - jnp.abs(x), 0.05)
    ribs = ribs * soft(0.5 - y, 0.08) * soft(y + 0.62, 0.08)
    line = y + 0.52 + 0.10 * ap + 0.22 * jnp.abs(x)
    clavicle = 0.12 * jnp.exp(-((line / 0.035) ** 2)) * soft(0.62 - jnp.abs(x), 0.04)
    return ribs * (0.5 + 0.5 * air) + clavicle


def opacities(
    key: Key[Array, ""],
    y: Array,
    x: Array,
    lungs: Array,
    finding: Array,
) -> Float[Array, "h w"]:
    """Return the density that a disease adds inside the lungs.

    COVID-19: three soft patches a lung, both lungs, outwards and low. Ordinary
    pneumonia: one dense patch in one lung.

    Args:
        key: the patient's.
        y: (H, 1) positions.
        x: (1, W) positions.
        lungs: (2, H, W) soft membership.
        finding: scalar int32: 0 none, 1 pneumonia, 2 COVID-19.

    Returns:
        (H, W), 0 outside the lungs.
    """
    place, extent, choice = jax.random.split(key, 3)
    # A column a patch: three in each lung, one for the focal disease.
    u = jax.random.uniform(place, (2, 7), minval=-1.0, maxval=1.0)
    r = jax.random.uniform(extent, (7,), minval=0.0, maxval=1.0)
    right = jax.random.bernoulli(choice)
    sides = jnp.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 0.0])
    sides = sides.at[6].set(jnp.where(right, -1.0, 1.0))
    centre_y = jnp.where(jnp.arange(7) < 6, 0.06 + 0.26 * u[0], 0.02 + 0.22 * u[0])
    centre_x = sides * jnp.where(jnp.arange(7) < 6, 0.45 + 0.06 * u[1], 0.36)
    radius = jnp.where(jnp.arange(7) < 6, 0.09 + 0.06 * r, 0.15 + 0.05 * r)
    strength = jnp.where(
        jnp.arange(7) < 6,
        jnp.where(finding == 2, 0.26, 0.0),
        jnp.where(finding == 1, 0.34, 0.0),
    )
    # A Gaussian is a product of two, so all the patches are one matrix product.
    down = jnp.exp(-(((y - centre_y[None]) / radius[None]) ** 2))
    across = jnp.exp(-(((x.T - centre_x[None]) / radius[None]) ** 2))
    total = (down * strength[None]) @ across.T
    # Patches that overlap add up to 0.45 at most.
    return 0.45 * jnp.tanh(total / 0.45) * (lungs[0] + lungs[1])
