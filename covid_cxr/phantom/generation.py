"""Synthetic radiographs with known lungs, known opacities and known shortcuts.

None comes from a patient. The cohort is drawn to prove, with no data, that a probe
fires when a shortcut is there and stays silent when it is not. :func:`generate` draws
one whole; of a large one :func:`roster` says who is in it, and :func:`stacks` draws a
part at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.index import Index, Row, build
from covid_cxr.phantom import anatomy
from covid_cxr.phantom.config import TRAITS, Cohort
from covid_cxr.phantom.projection import blocks, frame, marker, texture
from synaptax.data.streaming import spans
from synaptax.typing import Array, Bool, Int, Key

LICENCE = "synthetic: not a patient"
NORMAL, PNEUMONIA, COVID = 0, 1, 2
_STACK = 256  # radiographs a compiled call; bounds memory
_FIELD = 0.30  # millimetres a pixel of a 1024-pixel radiograph


class PhantomRadiograph(NamedTuple):
    """One synthetic radiograph, or a stack of them.

    Attributes:
        image: (..., H, W) float32 in [0, 1].
        lungs: (..., 2, H, W) bool: right (at the viewer's left), then left.
        opacity: (..., H, W) float32, the density that the disease adds.

    Example:
        >>> from covid_cxr import phantom
        >>> roster = phantom.roster(jax.random.key(0), phantom.Cohort(8))
        >>> example = phantom.radiograph(
        ...     roster.patients[0],
        ...     roster.poses[0],
        ...     jnp.array(2),
        ...     jnp.array(roster.traits[0]),
        ...     size=64,
        ... )
        >>> example.image.shape, example.lungs.shape, example.opacity.shape
        ((64, 64), (2, 64, 64), (64, 64))
    """

    image: Array
    lungs: Array
    opacity: Array


class Phantom(NamedTuple):
    """A synthetic cohort; row i of every part is one radiograph.

    Attributes:
        images: (n, H, W) float32 in [0, 1].
        lungs: (n, 2, H, W) bool: right (at the viewer's left), then left.
        opacity: (n, H, W) float32, the density that the disease adds.
        finding: (n,) int32: 0 normal, 1 pneumonia, 2 COVID-19.
        traits: trait to (n,) bool.
        index: the table, as a real source's; its paths name no file.

    Example:
        >>> from covid_cxr import phantom
        >>> data = phantom.generate(jax.random.key(0), phantom.Cohort(8))
        >>> data.images.shape, data.lungs.shape, len(data.index)
        ((8, 64, 64), (8, 2, 64, 64), 8)
    """

    images: np.ndarray
    lungs: np.ndarray
    opacity: np.ndarray
    finding: np.ndarray
    traits: Mapping[str, np.ndarray]
    index: Index


def radiograph(
    patient: Key[Array, ""],
    pose: Key[Array, ""],
    finding: Int[Array, ""],
    traits: Bool[Array, " traits"],
    *,
    size: int,
    contrast: float | Array = 1.0,
    noise: float | Array = 0.03,
) -> PhantomRadiograph:
    r"""Draw one radiograph; pure, so that it jits and vmaps.

    .. math:: I = Q\big(\max(F\, e\, (\rho + c\, o + t),\; 0.95\, L) + \sigma n\big)

    with :math:`\rho` the chest's density, o the opacities times the contrast c, t the
    vessels' texture, e the exposure, F the collimator's frame, L the marker, n white
    noise of the detector, and Q the compression; each is clipped to [0, 1].

    Args:
        patient: the key of the patient: anatomy and opacities.
        pose: the key of the radiograph: position, exposure, noise.
        finding: 0 none, 1 pneumonia, 2 COVID-19.
        traits: which shortcuts it carries, in the order of ``TRAITS``.
        size: pixels a side.
        contrast: factor on the opacities.
        noise: standard deviation of the detector's noise.

    Returns:
        The radiograph.

    Example:
        >>> from covid_cxr import phantom
        >>> roster = phantom.roster(jax.random.key(0), phantom.Cohort(8))
        >>> example = phantom.radiograph(
        ...     roster.patients[0],
        ...     roster.poses[0],
        ...     jnp.array(2),
        ...     jnp.array(roster.traits[0]),
        ...     size=64,
        ... )
        >>> bool(example.opacity.max() > 0)  # 2: COVID-19
        True
    """
    on = dict(zip(TRAITS, traits.astype(jnp.float32), strict=True))
    shape, disease = jax.random.split(patient)
    place, grain, speckle, rim = jax.random.split(pose, 4)
    line = (jnp.arange(size, dtype=jnp.float32) + 0.5) * (2 / size) - 1
    screen_y, screen_x = line[:, None], line[None, :]
    u = jax.random.uniform(place, (4,), minval=-1.0, maxval=1.0)
    scale = (1.14 + 0.05 * u[2]) * (1 - 0.15 * on["spacing"]) * (1 - 0.22 * on["body"])
    y = (screen_y - 0.05 * u[0]) / scale - 0.08
    x = (screen_x - 0.05 * u[1]) / scale
    person = anatomy.draw(shape)
    # A child's chest is short for its width.
    person = person._replace(height=person.height * (1 - 0.12 * on["body"]))
    shapes = anatomy.chest(y, x, person, on["view"])
    added = contrast * anatomy.opacities(disease, y, x, shapes.lungs, finding)
    image = shapes.density + added
    image += texture(grain, size, shapes.lungs, person.roughness)
    exposure = 1 + 0.06 * u[3] + 0.30 * on["intensity"]
    image = jnp.clip(image, 0, None) * exposure
    width, height = jax.random.uniform(rim, (2,))
    image = image * frame(screen_y, screen_x, on["border"], 0.07 + 0.05 * width)
    letter = marker(screen_y, screen_x, on["marker"], 0.66 + 0.08 * height)
    image = jnp.maximum(image, 0.95 * letter)
    image += noise * jax.random.normal(speckle, (size, size))
    image = jnp.clip(image, 0, 1)
    packed = jnp.clip(blocks(image), 0, 1)
    image = jnp.where(traits[list(TRAITS).index("jpeg")], packed, image)
    return PhantomRadiograph(image, shapes.lungs > 0.5, added)


@functools.partial(jax.jit, static_argnames=("size",))
def radiographs(
    patients: Key[Array, " n"],
    poses: Key[Array, " n"],
    findings: Int[Array, " n"],
    traits: Bool[Array, "n traits"],
    *,
    size: int,
    contrast: float | Array = 1.0,
    noise: float | Array = 0.03,
) -> PhantomRadiograph:
    """Draw a stack of radiographs: :func:`radiograph`, vmapped and jitted.

    Example:
        >>> from covid_cxr import phantom
        >>> who = phantom.roster(jax.random.key(0), phantom.Cohort(8))
        >>> stack = phantom.radiographs(
        ...     who.patients,
        ...     who.poses,
        ...     jnp.array(who.finding),
        ...     jnp.array(who.traits),
        ...     size=64,
        ... )
        >>> stack.image.shape
        (8, 64, 64)
    """

    def one(
        patient: Array, pose: Array, finding: Array, carried: Array
    ) -> PhantomRadiograph:
        return radiograph(
            patient, pose, finding, carried, size=size, contrast=contrast, noise=noise
        )

    return jax.vmap(one)(patients, poses, findings, traits)


class Roster(NamedTuple):
    """Who is in a cohort: all but the images; row i of every part is one radiograph.

    Attributes:
        patients: (n,) typed keys, the same for all radiographs of a patient.
        poses: (n,) typed keys.
        finding: (n,) int32: 0 normal, 1 pneumonia, 2 COVID-19.
        traits: (n, traits) bool, in the order of ``TRAITS``.
        index: the table, as a real source's; its paths name no file.

    Example:
        >>> from covid_cxr import phantom
        >>> roster = phantom.roster(jax.random.key(0), phantom.Cohort(8, radiographs=2))
        >>> roster.finding.shape, len(set(roster.index.patient))
        ((16,), 8)
    """

    patients: Array
    poses: Array
    finding: np.ndarray
    traits: np.ndarray
    index: Index


def roster(key: Key[Array, ""], cohort: Cohort) -> Roster:
    """Return who is in a cohort; the same as :func:`generate` draws.

    Example:
        >>> from covid_cxr import phantom
        >>> roster = phantom.roster(jax.random.key(0), phantom.Cohort(8))
        >>> roster.finding.shape, roster.index.source[:1].tolist()
        ((8,), ['phantom_a'])
    """
    at_random, people, pose = jax.random.split(key, 3)
    site, finding, traits = _draw_labels(at_random, cohort)
    repeat = np.repeat(np.arange(cohort.patients), cohort.radiographs)
    # Of the key, so that two cohorts name their patients differently.
    identity = np.asarray(jax.random.bits(key, (2,), jnp.uint32))
    return Roster(
        patients=jax.random.split(people, cohort.patients)[repeat],
        poses=jax.random.split(pose, len(repeat)),
        finding=finding[repeat],
        traits=traits[repeat],
        index=_index(cohort, repeat, site, finding, traits, f"{identity[0]:08x}"),
    )


def stacks(
    whole: Roster, cohort: Cohort, *, size: int = _STACK
) -> Iterator[tuple[slice, PhantomRadiograph]]:
    """Draw a cohort a part at a time.

    Args:
        whole: of :func:`roster`.
        cohort: the same.
        size: radiographs at once.

    Yields:
        Rows, and their radiographs; together all rows. The last rows may repeat some,
        with the same radiographs, so that all parts have one shape.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(8)
        >>> roster = covid_cxr.phantom.roster(jax.random.key(0), cohort)
        >>> parts = covid_cxr.phantom.stacks(roster, cohort, size=8)
        >>> [(rows.start, stack.image.shape) for rows, stack in parts]
        [(0, (8, 64, 64))]
    """
    for rows in spans(len(whole.finding), size):
        yield (
            rows,
            radiographs(
                whole.patients[rows],
                whole.poses[rows],
                jnp.asarray(whole.finding[rows]),
                jnp.asarray(whole.traits[rows]),
                size=cohort.size,
                contrast=jnp.float32(cohort.contrast),
                noise=jnp.float32(cohort.noise),
            ),
        )


def generate(key: Key[Array, ""], cohort: Cohort | None = None) -> Phantom:
    """Draw a synthetic cohort.

    Args:
        key: the same key and cohort give the same radiographs, bit for bit.
        cohort: what to draw; default ``Cohort()``.

    Returns:
        Images, masks, opacities, findings, traits, and the table of it all.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=8, shortcuts={"border": 0.9})
        >>> data = covid_cxr.phantom.generate(jax.random.key(0), cohort)
        >>> data.images.shape, sorted(set(data.finding.tolist()))
        ((8, 64, 64), [0, 2])
    """
    cohort = Cohort() if cohort is None else cohort
    whole = roster(key, cohort)
    shape = (cohort.size, cohort.size)
    images = np.empty((len(whole.finding), *shape), np.float32)
    lungs = np.empty((len(images), 2, *shape), bool)
    opacity = np.empty_like(images)
    for rows, stack in stacks(whole, cohort):
        images[rows], lungs[rows], opacity[rows] = map(np.asarray, stack)
    return Phantom(
        images,
        lungs,
        opacity,
        finding=whole.finding,
        traits={name: whole.traits[:, i] for i, name in enumerate(TRAITS)},
        index=whole.index,
    )


def _draw_labels(
    key: Array, cohort: Cohort
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each patient's hospital, finding (int32) and traits (bool)."""
    where, what, how = jax.random.split(key, 3)
    hospitals = cohort.hospitals
    u = np.asarray(jax.random.uniform(where, (cohort.patients,)))
    share = np.cumsum([hospital.share for hospital in hospitals])
    site = np.searchsorted(share / share[-1], u, side="right")
    site = np.minimum(site, len(hospitals) - 1)
    u = np.asarray(jax.random.uniform(what, (2, cohort.patients)))
    covid = u[0] < np.array([hospital.covid for hospital in hospitals])[site]
    other = u[1] < np.array([hospital.pneumonia for hospital in hospitals])[site]
    finding = np.where(covid, COVID, np.where(other, PNEUMONIA, NORMAL))
    target = covid if cohort.target == "covid" else finding != NORMAL
    u = np.asarray(jax.random.uniform(how, (cohort.patients, len(TRAITS))))
    traits = np.zeros_like(u, dtype=bool)
    for i, name in enumerate(TRAITS):
        if name in cohort.shortcuts:
            # P(trait | t) = 1/2 + s (t - 1/2), t = 1 where the target is present, else
            # 0.
            chance = 0.5 + cohort.shortcuts[name] * (target - 0.5)
        else:
            chance = np.array([h.traits.get(name, 0.0) for h in hospitals])[site]
        traits[:, i] = u[:, i] < chance
    return site, finding.astype(np.int32), traits


def _index(
    cohort: Cohort,
    repeat: np.ndarray,
    site: np.ndarray,
    finding: np.ndarray,
    traits: np.ndarray,
    identity: str,
) -> Index:
    """Return the table of a cohort; ages and sexes carry no meaning but "body"."""
    names = list(TRAITS)
    rows = []
    for i, person in enumerate(repeat):
        source = cohort.hospitals[site[person]].name
        has = dict(zip(names, traits[person], strict=True))
        ill = int(finding[person])
        # Spread the ages by a fixed stride, so that they need no key.
        child, spread = bool(has["body"]), (37 * int(person)) % 50
        rows.append(
            Row(
                path=f"{identity}/{person:06d}_{i % cohort.radiographs:02d}",
                patient=f"{source}/{identity}-{person:06d}",
                source=source,
                site=source,
                view="AP" if has["view"] else "PA",
                sex="MF"[int(person) % 2],
                licence=LICENCE,
                age=float(1 + spread % 5 if child else 25 + spread),
                # 1.18 = 1 / 0.85: the body is drawn at 0.85 of its size, so a pixel
                # covers more.
                spacing=_FIELD * 1024 / cohort.size * (1.18 if has["spacing"] else 1),
                height=cohort.size,
                width=cohort.size,
                labels={
                    "covid": int(ill == COVID),
                    "pneumonia": int(ill != NORMAL),
                    "no_finding": int(ill == NORMAL),
                },
                flags=frozenset({"synthetic"} | ({"child"} if child else set())),
            )
        )
    return build(rows)
