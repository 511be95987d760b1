"""With a shortcut its probes fire, without one all are silent: synthetic films."""

import jax
import numpy as np
import pytest

from covid_cxr.bias import of_data
from covid_cxr.phantom import COVID, Cohort, Hospital, generate

pytestmark = pytest.mark.runs

LEFT = {"linear, border only", "linear, boxed out", "linear, lungs removed"}
SOURCE = {
    "name of the source only",
    "source from pixels",
    "labels shuffled within source",
}
CONFOUNDED = (
    Hospital("a", covid=0.85, traits={"border": 0.9}),
    Hospital("b", covid=0.15, traits={"border": 0.1}),
)


def probes(**cohort):
    drawn = generate(jax.random.key(0), Cohort(patients=256, size=48, **cohort))
    label = (drawn.finding == COVID).astype(int)
    found = of_data(drawn.index, label, drawn.images, drawn.lungs.any(axis=1))
    return {one.name: one for one in found}


def firing(found):
    return {name for name, one in found.items() if one.fires}


def test_without_a_shortcut_all_are_silent_and_the_disease_shows():
    found = probes()
    assert firing(found) == set()
    assert found["linear, lungs only"].found.value > 0.95


def test_a_border_fires_what_sees_it_and_masking_removes_it():
    found = probes(shortcuts={"border": 0.9}, contrast=0.0)
    assert firing(found) == LEFT | {"texture, border only"}  # lines have a spectrum
    assert found["linear, whole radiograph"].found.low > 0.8
    # Nothing of the disease is to be seen here, so the masked film must say nothing.
    for masked in ("linear, lungs only", "linear, framed"):
        assert found[masked].found.low < 0.5 < found[masked].found.high + 0.05


def test_masking_does_not_remove_an_exposure():
    found = probes(shortcuts={"intensity": 0.9}, contrast=0.0)
    assert firing(found) == LEFT
    assert found["linear, lungs only"].found.low > 0.8


def test_a_view_is_told_by_the_table():
    found = probes(shortcuts={"view": 0.9})
    assert "metadata only" in firing(found)
    assert not firing(found) & SOURCE


def test_sources_that_tell_the_label_are_named():
    found = probes(hospitals=CONFOUNDED)
    assert firing(found) >= SOURCE
    assert "metadata only" not in firing(found)


def test_without_masks_the_border_is_still_asked():
    drawn = generate(jax.random.key(1), Cohort(patients=256, size=48))
    label = (drawn.finding == COVID).astype(int)
    dark = np.where(label[:, None, None] == 1, 0.7 * drawn.images, drawn.images)
    found = {one.name: one for one in of_data(drawn.index, label, dark)}
    assert found["linear, border only"].fires
    assert "linear, lungs removed" not in found
