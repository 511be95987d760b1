"""Verdicts by hand: every rule can turn out either way."""

import math

import pytest
from scipy import stats

from analysis.minima import claims

NAN = math.nan
BASE = {
    "error": 0.02,
    "train_loss": 0.01,
    "train_error": 0.0,
    "top_survivors": 2.0,
    "top_all": 3.0,
    "trace_survivors": 5.0,
    "worst_rise": 0.1,
    "mean_rise": 0.1,
    "z2": 4.0,
    "z2_hidden": 3.0,
    "H1": 0.5,
    "H1_live": 0.5,
    "H1_layers": 0.5,
    "H2_xnor": 0.7,
    "equal_top": 0.0,
    "equal_trace": 0.0,
    "equal_error": 0.0,
    "H2_xnor_both": 0.0,
    "H2_joint_both": 0.0,
    "H2_draft_both": 0.0,
    "probe_error": 0.2,
}


BOTH = ("H2_xnor_both", "H2_joint_both", "H2_draft_both")


def seeds(**changes):
    """Return three seeds whose S differs from G by ``changes``, a little unevenly."""
    found = {}
    for seed, wobble in enumerate((0.9, 1.0, 1.1)):
        other = {k: BASE[k] + wobble * by for k, by in changes.items()}
        found[seed] = {
            "dense": {"error": 0.021},
            "gradual": dict(BASE),
            "one-shot": {**BASE, "barrier": 0.1 * wobble, "plane_gap": wobble, **other},
        }
    return found


def verdicts(**changes):
    judged = claims.judge(seeds(**changes), level=0.95)
    return {claim.number: claim.verdict for claim in judged}


def test_the_interval_is_students():
    values = [1.0, 2.0, 4.0]
    mean, low, high = claims.interval(values, 0.9)
    wanted = stats.t.interval(0.9, 2, loc=7 / 3, scale=stats.sem(values))
    assert (mean, low, high) == pytest.approx((7 / 3, *wanted))
    assert claims.interval([*values, NAN], 0.9) == (mean, low, high)


@pytest.mark.parametrize("values", [[], [1.0], [NAN, 1.0], [2.0, 2.0, 2.0]])
def test_nothing_is_concluded_without_spread(values):
    _, low, high = claims.interval(values, 0.95)
    assert math.isnan(low) and math.isnan(high)
    assert claims.above_zero(low, high) == claims.UNDECIDED
    assert claims.alike(low, high) == claims.UNDECIDED


@pytest.mark.parametrize(
    ("rule", "low", "high", "wanted"),
    [
        (claims.above_zero, 0.1, 2.0, claims.SUPPORTED),
        (claims.above_zero, -2.0, -0.1, claims.NOT_SUPPORTED),
        (claims.above_zero, -0.1, 0.1, claims.UNDECIDED),
        (claims.alike, -0.05, 0.09, claims.SUPPORTED),
        (claims.alike, 0.11, 0.2, claims.NOT_SUPPORTED),
        (claims.alike, -0.3, -0.2, claims.NOT_SUPPORTED),
        (claims.alike, 0.05, 0.15, claims.UNDECIDED),
    ],
)
def test_the_rules(rule, low, high, wanted):
    assert rule(low, high) == wanted


def test_what_the_paper_would_see_is_supported():
    found = verdicts(
        error=0.01,
        train_loss=0.02,
        equal_top=0.5,
        z2=3.0,
        H1=0.005,
        **dict.fromkeys(BOTH, 0.2),
        probe_error=0.05,
    )
    assert set(found.values()) == {claims.SUPPORTED}
    assert list(found) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_opposite_is_not_supported():
    found = verdicts(
        error=-0.01,
        train_loss=-0.005,
        equal_top=-0.5,
        z2=-2.0,
        H1=0.4,
        **dict.fromkeys(BOTH, -0.2),
        probe_error=-0.05,
    )
    assert set(found.values()) == {claims.NOT_SUPPORTED}


def test_no_difference_is_undecided():
    assert set(verdicts().values()) == {claims.UNDECIDED}


def test_all_parts_of_a_claim_must_hold():
    # Sharper, but no better.
    assert verdicts(equal_top=0.5)[3] == claims.UNDECIDED
    assert verdicts(equal_top=0.5, error=-0.01)[3] == claims.NOT_SUPPORTED
    # One form of three that says the opposite is enough against claim 7.
    forms = dict(zip(BOTH, (0.2, 0.2, -0.1), strict=True))
    assert verdicts(**forms)[7] == claims.NOT_SUPPORTED
    # With rewinding measured, claim 4 asks of it too.
    with_r = seeds(error=0.01)
    for wobble, arms in zip((0.9, 1.0, 1.1), with_r.values(), strict=True):
        arms["rewound"] = {"error": 0.02 - 0.005 * wobble}
    judged = claims.judge(with_r, level=0.95)
    assert [part.verdict for part in judged[3].parts] == ["supported", "not supported"]
    assert judged[3].verdict == claims.NOT_SUPPORTED


def test_the_gap_at_a_low_sparsity_is_a_variant():
    judged = claims.judge(seeds(error=0.01), level=0.95, low=seeds(error=0.002))
    _, gap, growth = judged[0].variants
    assert gap.mean == pytest.approx(0.2) and growth.mean == pytest.approx(0.8)
    assert growth.verdict == claims.SUPPORTED


def test_effects_have_the_papers_sign():
    judged = claims.judge(seeds(error=0.01, z2=3.0, H1=0.1, H2_xnor=-0.2), level=0.95)
    by_name = {e.name: e for c in judged for e in (*c.parts, *c.variants)}
    assert by_name["test error of S - G"].values == pytest.approx((0.9, 1.0, 1.1))
    assert by_name["mean z^2, all layers, S / G"].values[1] == pytest.approx(
        math.log(7 / 4)
    )
    assert by_name["first order, all neurons, (G - S) / S"].values[1] == pytest.approx(
        -0.1 / 0.6
    )
    assert by_name["same-state pairs (XNOR), G - S"].values[1] == pytest.approx(0.2)
    assert by_name["barrier on the line from G to S"].values[1] == pytest.approx(0.1)


def test_curvature_decides_at_equal_loss_and_as_they_end_only_if_asked():
    flatter = seeds(top_survivors=1.0, equal_top=0.5, error=0.01)
    assert claims.judge(flatter, level=0.95)[2].verdict == claims.SUPPORTED
    ended = claims.judge(flatter, level=0.95, at_end=True)[2]
    assert ended.verdict == claims.NOT_SUPPORTED
    names = [e.name for e in claims.judge({0: {}, 1: {}}, level=0.95)[2].parts]
    assert names[0] == "top eigenvalue, survivors, G / S at equal training loss"


def test_a_dead_seed_does_not_hide_the_others():
    five = {seed: seeds(error=0.02)[seed % 3] for seed in range(5)}
    five[4] = {**five[4], "one-shot": {**five[4]["one-shot"], "error": 0.9}}
    claim = claims.judge(five, level=0.95)[0]
    assert claim.verdict == claims.SUPPORTED
    assert claim.variants[0].verdict == claims.UNDECIDED  # in points


def test_an_error_of_none_has_a_logarithm():
    none = claims.log_error({"error": 0.0, "test_examples": 9}, "error")
    assert none == pytest.approx(math.log(0.05))
    one = claims.log_error({"error": 0.1, "test_examples": 10}, "error")
    assert one == pytest.approx(math.log(1.5 / 11))
    assert math.isnan(claims.log_error({"error": 0.0}, "error"))
