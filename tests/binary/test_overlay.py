"""The overlay's measurements against slow references, its figures and its report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

import binary
from binary.experiments import _results_theory
from binary.overlay import jobs as overlay_jobs
from binary.overlay import report
from binary.overlay import theory as overlay_theory
from binary.overlay.ascent import ascend
from binary.overlay.sampler import sample
from binary.theory import stochastic
from synaptax.runs import jsonable, read_json


def test_chains_have_the_measure_of_a_tiny_system():
    """Three weights, two patterns: against reweighted uniform points of the sphere."""
    inputs = jnp.array([[1, 1, 1], [1, -1, 1]], jnp.int8)
    chains, q_star, beta = 256, 0.6, 6.0
    one = binary.instance(inputs)
    many = binary.stack([one] * chains)
    found = sample(jax.random.key(0), many, q_star, beta, warm=60, kept=60)
    np.testing.assert_allclose(np.sum(np.square(found.m), axis=1), 1.8, rtol=1e-5)
    assert np.abs(found.m).max() <= 1

    rng = np.random.default_rng(0)
    points = rng.standard_normal((400_000, 3))
    points *= np.sqrt(1.8) / np.linalg.norm(points, axis=1, keepdims=True)
    points = points[np.abs(points).max(axis=1) <= 1]
    delta = points @ np.array(inputs).T / np.sqrt(3 * (1 - q_star))
    weight = np.exp(beta * log_ndtr(delta).sum(axis=1))
    weight /= weight.sum()
    exact = {
        "loss": weight @ -log_ndtr(delta).mean(axis=1),
        "energy_draw": weight @ ndtr(-delta).mean(axis=1),
        "energy_mode": weight
        @ np.mean(np.sign(points) @ np.array(inputs).T < 0, axis=1),
    }
    for name, value in exact.items():
        measured = overlay_jobs.statistics(getattr(found, name))
        gap = abs(measured["mean"] - value)
        assert gap < 4 * measured["error"] + 0.002, name


def test_chains_land_on_the_replica_symmetric_point():
    instances = overlay_jobs.draw(jax.random.key(1), 101, 0.55, 8)
    found = sample(jax.random.key(2), instances, 0.8, 5.0, warm=40, kept=60)
    theory = stochastic(0.55, 0.8, 5.0)
    for name in ("loss", "energy_mode", "energy_draw"):
        measured = overlay_jobs.statistics(getattr(found, name))
        gap = abs(measured["mean"] - getattr(theory, name))
        assert gap < 4 * measured["error"] + 0.05 * getattr(theory, name), name


def test_ascent_by_a_plain_loop():
    one = binary.storage(jax.random.key(3), 51, 0.5)
    keys = jax.random.split(jax.random.key(4), 1)
    found = ascend(keys, binary.stack([one]), jnp.array([0.5]), 25, 0.0)
    x = np.asarray(one.patterns, np.float64)
    m = np.clip(np.asarray(jax.random.normal(keys[0], (51,)), float) / 51**0.5, -1, 1)
    m *= np.sqrt(0.5 * 51 / np.sum(m**2))
    for _ in range(25):
        root = np.sqrt(np.sum(1 - m**2))
        delta = x @ m / root
        pull = np.exp(-(delta**2) / 2 - log_ndtr(delta)) / np.sqrt(2 * np.pi)
        m = np.clip(m + 0.1 * x.T @ pull / root, -1, 1)
        for _ in range(60):
            m = np.clip(m * np.sqrt(0.5 * 51 / np.sum(m**2)), -1, 1)
    delta = x @ m / np.sqrt(np.sum(1 - m**2))
    np.testing.assert_allclose(found.loss[0, 0], -log_ndtr(delta).mean(), rtol=1e-3)
    assert found.steps[0, 0] == 25
    assert float(found.energy_mode[0, 0]) == pytest.approx(
        np.mean(x @ np.sign(m) < 0), abs=1.5 / len(x)
    )


def test_flips_of_a_vector_that_is_its_own_pattern():
    """The field is N - 2k after k flips, so it errs only beyond a half."""
    weights = np.ones((2, 101), np.int8)
    both = binary.stack([binary.instance(weights[:1])] * 2)
    rng = np.random.default_rng(0)
    errors = overlay_jobs.flip_errors(rng, both, weights, 3)
    assert errors.shape == (2, len(overlay_jobs.FLIPS))
    assert not errors.any()
    opposite = overlay_jobs.flip_errors(rng, both, -weights, 3)
    assert (opposite == 1).all()


def test_statistics_by_hand():
    found = overlay_jobs.statistics([[1.0, 2.0], [3.0, 2.0]])
    np.testing.assert_allclose(found["mean"], [2, 2])
    np.testing.assert_allclose(found["error"], [1, 0])
    assert found["n"] == 2


def test_measured_points_lie_within_their_errors_of_theory():
    """What was recorded, where RS applies.

    The points around samples share their instances, whose total entropy happens to be
    2.3 errors low, so they move together.
    """
    found = read_json(_results_theory.RECORDED / "overlay.json")["results"]
    gaps = _results_theory.discrepancies(found)
    for name, scores in gaps.items():
        limit = 3 if name.endswith("samples") else 2
        assert np.abs(scores).max() < limit, name


def test_report_has_every_table():
    lines = _results_theory.sections()
    text = "\n".join(lines)
    assert sum(line.startswith("## ") for line in lines) == 2
    for words in ("capacity, margin 0.5", "Teacher-student", "belief propagation"):
        assert words in text
    assert "nan" not in text


def test_figures_are_drawn_of_what_was_recorded(monkeypatch):
    pytest.importorskip("matplotlib")
    from binary.commands import overlay_figures

    monkeypatch.setattr(overlay_figures, "_DISTANCES", (0.1, 0.2))
    found = read_json(_results_theory.RECORDED / "overlay.json")["results"]
    figure = overlay_figures.recovery(found)
    assert figure.axes[0].get_xlabel() == "load (patterns / weights)"
    assert len(overlay_figures.robustness(found, 0.55).axes[0].lines) > 5


def test_local_curves_leave_out_where_no_solution_is():
    curve = overlay_theory.local_curve("spherical", 0.55, (0.05, 0.2))
    assert curve["distance"] == [0.2]


@pytest.mark.slow
def test_all_jobs_at_small_size():
    found = {
        job.name: jsonable(job.run()) for job in overlay_jobs.jobs(overlay_jobs.SMALL)
    }
    found["theory"] = jsonable(overlay_theory.theory_of(0.55))
    summary = {
        "results": found,
        "config": {"alpha": 0.55},
        "command": "here",
        "seeds": [0],
        "wall_s": 1.0,
    }
    text = "\n".join(report.overlay_sections(summary))
    assert text.count("\n|---") == 5
