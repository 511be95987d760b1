"""The paper's claims, as numbers that can turn out either way.

The rules are fixed here, before any run:

- every effect is a difference between solutions of the same seed, signed so that the
  paper expects it above 0;
- test errors and training losses are compared on a log scale, k wrong of n as
  (k + 1/2) / (n + 1), and a ratio counts as :data:`TENFOLD` at most, either way: one
  network that never learns would else widen the interval beyond any difference (a
  seed at 45 times among four at twice is undecided as a plain log ratio too). The
  same in points stands beside;
- curvature is compared at equal training loss, for it falls with the loss: the mean
  over the losses that both reach (:mod:`analysis.minima.twins`). A seed with no such
  loss is left out of that effect, and the number of seeds is said;
- second-order entropy is compared in all three of its forms, over the neurons alive
  in both networks;
- its interval is Student's t over the seeds' differences (of logarithms, where the
  effect is a ratio);
- **supported** if the interval lies above 0, **not supported** if it lies below,
  **undecided** if it holds 0;
- a claim that two things are alike is supported if the interval lies within
  +-:data:`MARGIN`, not supported if it lies outside, undecided else;
- a claim of several parts is supported if all are, not supported if one is not.

Records made before these rules (their claims 1, 2, 4 and 8 in points, claim 3 at
unequal loss, claim 7 by one form) keep the verdicts that they were made with.

An effect without two different finite values is undecided. Variants are judged by the
same rules and shown beside, but do not decide a claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
MARGIN = 0.10  # relative difference of entropies that still counts as alike

TENFOLD = math.log(10)  # beyond, a network did not learn; how far beyond says nothing

#: The claims of arXiv 2004.14765, by number; all are from memory but the last, which
#: the abstract calls a potential. That rewinding does not help is a reading of the
#: fourth that we test beside it, not a sentence of the paper.
TEXTS = {
    1: "At equal sparsity gradual pruning errs less, the more so the sparser",
    2: "G lies in a region of lower training loss than S",
    3: "G is the sharper minimum (larger top Hessian eigenvalue), and yet generalises "
    "better",
    4: "Training on after one-shot pruning does not reach what gradual pruning reaches",
    5: "The mean square of the pre-activations is lower for G",
    6: f"First-order PSP-entropy is about the same for G and S (within "
    f"{100 * MARGIN:g} %)",
    7: "Second-order PSP-entropy is higher for G: fewer groups of neurons bound to a "
    "class",
    8: "Conjecture: G's features transfer better",
}

Measures = Mapping[str, Any]
Arms = Mapping[str, Measures]


def arms_of(measures: Mapping[str, Measures], level: Any) -> dict[int, Any]:
    """Return seed to arm to measures at one level; the dense network is at all."""
    by_seed: dict[int, dict[str, Any]] = {}
    for one in measures.values():
        if one["level"] == level or one["arm"] == "dense":
            by_seed.setdefault(int(one["seed"]), {})[one["arm"]] = one
    return {seed: arms for seed, arms in by_seed.items() if "gradual" in arms}


class Effect(NamedTuple):
    """One number with its interval.

    Attributes:
        name: what is compared.
        unit: of the values.
        values: per seed, in the order of the seeds; NaN where it was not measured.
        mean: over the seeds.
        low: lower end of the interval; NaN with fewer than 2 values.
        high: upper end.
        verdict: by the rules above.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    verdict: str


class Claim(NamedTuple):
    """One claim with what was found.

    Attributes:
        number: as in the list of claims.
        text: what the paper says.
        parts: the effects that decide it.
        variants: other readings, shown beside.
        verdict: by the rules above.
    """

    number: int
    text: str
    parts: tuple[Effect, ...]
    variants: tuple[Effect, ...]
    verdict: str


def interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Return mean, lower and upper end of Student's t interval of a mean.

    Args:
        values: independent values; those that are not finite are left out.
        level: in (0, 1).

    Returns:
        Both ends are NaN for fewer than 2 values, and for values that are all the
        same: errors are counts of few examples, and a tie says nothing of the spread.
        The mean is NaN for none.
    """
    from scipy import stats

    finite = np.asarray([v for v in values if math.isfinite(v)], np.float64)
    if finite.size < 2:
        return (float(finite[0]) if finite.size else math.nan), math.nan, math.nan
    mean, se = float(finite.mean()), float(finite.std(ddof=1)) / math.sqrt(finite.size)
    if not se > 0:
        return mean, math.nan, math.nan
    reach = float(stats.t.ppf((1 + level) / 2, finite.size - 1)) * se
    return mean, mean - reach, mean + reach


def log_error(measures: Measures, key: str) -> float:
    """Return log((k + 1/2) / (n + 1)) of k = n error; log of an error of unknown n."""
    error, count = float(measures.get(key, math.nan)), measures.get("test_examples")
    # n is known of the test error alone: (k + 1/2) / (n + 1) keeps k = 0 finite.
    if key == "error" and count is not None:
        error = (error * count + 0.5) / (count + 1)
    return math.log(error) if error > 0 else math.nan


def above_zero(low: float, high: float) -> str:
    """Judge an effect that the paper expects above 0."""
    if low > 0:
        return SUPPORTED
    return NOT_SUPPORTED if high < 0 else UNDECIDED


def alike(low: float, high: float) -> str:
    """Judge an effect that the paper expects to be about 0."""
    if low > -MARGIN and high < MARGIN:
        return SUPPORTED
    return NOT_SUPPORTED if low > MARGIN or high < -MARGIN else UNDECIDED


def together(parts: Sequence[Effect]) -> str:
    """Judge a claim by its parts."""
    verdicts = {part.verdict for part in parts}
    if NOT_SUPPORTED in verdicts:
        return NOT_SUPPORTED
    return UNDECIDED if UNDECIDED in verdicts or not verdicts else SUPPORTED


def judge(
    seeds: Mapping[int, Arms],
    *,
    level: float,
    low: Mapping[int, Arms] | None = None,
    at_end: bool = False,
) -> tuple[Claim, ...]:
    """Return the claims of arXiv 2004.14765 with what was measured.

    Args:
        seeds: seed to arm to measures (see :mod:`analysis.minima.measures`), at the
            highest sparsity; the arms are ``dense``, ``gradual``, ``one-shot`` and,
            if it was trained, ``rewound``.
        level: of the intervals.
        low: the same at the lowest of the other sparsities compared, if any.
        at_end: judge claim 3 by the curvature at the losses that training ended with.

    Returns:
        Eight claims; the last is the paper's conjecture on transfer.
    """
    rule = _Rule(seeds, level)
    return (
        _error(rule, low),
        _training_loss(rule),
        _sharpness(rule, at_end),
        _stuck(rule),
        _potentials(rule),
        _first_order(rule),
        _second_order(rule),
        _transfer(rule),
    )


class _Rule(NamedTuple):
    """Makes effects of the measures of all seeds."""

    seeds: Mapping[int, Arms]
    level: float

    def _values(self, arm: str, key: str) -> list[float]:
        return [
            float(arms.get(arm, {}).get(key, math.nan)) for arms in self.seeds.values()
        ]

    def made(
        self, name: str, unit: str, values: Sequence[float], rule: Any = above_zero
    ) -> Effect:
        """Return the effect of values that are signed as the paper expects."""
        mean, low, high = interval(values, self.level)
        return Effect(name, unit, tuple(values), mean, low, high, rule(low, high))

    def difference(
        self,
        name: str,
        key: str,
        unit: str,
        scale: float = 1.0,
        *,
        flip: bool = False,
        arms: tuple[str, str] = ("one-shot", "gradual"),
    ) -> Effect:
        """Return first - second (second - first if flipped)."""
        first, second = (self._values(arm, key) for arm in arms)
        sign = -scale if flip else scale
        values = [sign * (a - b) for a, b in zip(first, second, strict=True)]
        return self.made(name, unit, values)

    def errors(
        self, name: str, key: str, arms: tuple[str, str] = ("one-shot", "gradual")
    ) -> Effect:
        """Return log(first / second) of two errors or losses, tenfold at most."""
        first, second = (
            [log_error(own.get(arm, {}), key) for own in self.seeds.values()]
            for arm in arms
        )
        ratios = np.subtract(first, second).clip(-TENFOLD, TENFOLD)
        return self.made(name, "log ratio", ratios.tolist())

    def points(
        self, name: str, key: str, arms: tuple[str, str] = ("one-shot", "gradual")
    ) -> Effect:
        """Return a difference of two fractions in percentage points."""
        return self.difference(name, key, "points", 100.0, arms=arms)

    def ratio(self, name: str, key: str, *, flip: bool = False) -> Effect:
        """Return log(G / S), or log(S / G) if flipped."""
        pairs = zip(
            self._values("gradual", key), self._values("one-shot", key), strict=True
        )
        sign = -1 if flip else 1
        values = [
            sign * math.log(g / s) if g > 0 and s > 0 else math.nan for g, s in pairs
        ]
        return self.made(name, "log ratio", values)

    def alike(self, name: str, key: str) -> Effect:
        """Return (G - S) / S, judged as a claim of likeness."""
        pairs = zip(
            self._values("gradual", key), self._values("one-shot", key), strict=True
        )
        values = [(g - s) / s if s else math.nan for g, s in pairs]
        return self.made(name, "relative", values, alike)

    def own(self, name: str, key: str, unit: str) -> Effect:
        """Return what was measured of the pair as such, kept with S."""
        return self.made(name, unit, self._values("one-shot", key))


def _claim(
    number: int, parts: Sequence[Effect], variants: Sequence[Effect] = ()
) -> Claim:
    text = TEXTS[number]
    return Claim(number, text, tuple(parts), tuple(variants), together(parts))


def _test_error(rule: _Rule) -> Effect:
    return rule.errors("log test error, S / G", "error")


def _error(rule: _Rule, low: Mapping[int, Arms] | None) -> Claim:
    error = rule.points("test error of S - G", "error")
    if low is None:
        return _claim(1, [_test_error(rule)], [error])
    gap = _Rule(low, rule.level).points("S - G at the low sparsity", "error")
    at_low = dict(zip(low, gap.values, strict=True))
    growth = [
        value - at_low.get(seed, math.nan)
        for seed, value in zip(rule.seeds, error.values, strict=True)
    ]
    grown = rule.made("growth of the gap, low to high sparsity", "points", growth)
    return _claim(1, [_test_error(rule)], [error, gap, grown])


def _training_loss(rule: _Rule) -> Claim:
    return _claim(
        2,
        [rule.errors("log training loss, S / G", "train_loss")],
        [
            rule.difference("training loss of S - G", "train_loss", "nats"),
            rule.points("training error of S - G", "train_error"),
            rule.own("mean over the plane, S half - G half", "plane_gap", "nats"),
            rule.own("barrier on the line from G to S", "barrier", "nats"),
        ],
    )


def _sharpness(rule: _Rule, at_end: bool) -> Claim:
    equal = "survivors, G / S at equal training loss"
    matched = rule.own(f"top eigenvalue, {equal}", "equal_top", "log ratio")
    ended = rule.ratio("top eigenvalue, survivors, G / S as they end", "top_survivors")
    deciding, other = (ended, matched) if at_end else (matched, ended)
    return _claim(
        3,
        [deciding, _test_error(rule)],
        [
            other,
            rule.own(f"trace, {equal}", "equal_trace", "log ratio"),
            rule.own("test error of S - G at equal loss", "equal_error", "points"),
            rule.ratio("top eigenvalue, all weights, G / S as they end", "top_all"),
            rule.ratio("trace, survivors, G / S as they end", "trace_survivors"),
            rule.ratio("worst rise in a ball, survivors, G / S", "worst_rise"),
            rule.ratio("mean rise under noise, survivors, G / S", "mean_rise"),
        ],
    )


def _stuck(rule: _Rule) -> Claim:
    points, of_dense = ("test error of S - dense", "error"), ("one-shot", "dense")
    parts = [rule.errors("log test error, S / dense", "error", of_dense)]
    variants = [
        rule.points(*points, of_dense),
        rule.points("test error of G - dense", "error", ("gradual", "dense")),
    ]
    if all("rewound" in arms for arms in rule.seeds.values()):
        rewound = ("rewound", "gradual")
        parts.append(rule.errors("log test error, R / G", "error", rewound))
        variants.append(rule.points("test error of R - G", "error", rewound))
    if all("ticket" in arms for arms in rule.seeds.values()):
        ticket = ("ticket", "gradual")
        variants.append(rule.errors("log test error, T / G", "error", ticket))
    return _claim(4, parts, variants)


def _potentials(rule: _Rule) -> Claim:
    return _claim(
        5,
        [rule.ratio("mean z^2, all layers, S / G", "z2", flip=True)],
        [rule.ratio("mean z^2, hidden layers, S / G", "z2_hidden", flip=True)],
    )


def _first_order(rule: _Rule) -> Claim:
    return _claim(
        6,
        [rule.alike("first order, all neurons, (G - S) / S", "H1")],
        [
            rule.alike("first order, live neurons, (G - S) / S", "H1_live"),
            rule.alike("first order, mean of layers, (G - S) / S", "H1_layers"),
        ],
    )


def _second_order(rule: _Rule) -> Claim:
    bits = lambda name, key: rule.difference(name, key, "bits", flip=True)
    both = lambda name, form: rule.own(
        f"{name}, neurons alive in both, G - S", f"H2_{form}_both", "bits"
    )
    return _claim(
        7,
        [
            both("same-state pairs (XNOR)", "xnor"),
            both("four-state joint", "joint"),
            both("the authors' draft", "draft"),
        ],
        [
            bits("same-state pairs (XNOR), G - S", "H2_xnor"),
            bits("four-state joint, G - S", "H2_joint"),
            bits("the authors' draft, G - S", "H2_draft"),
            rule.difference("class selectivity, live units, S - G", "selectivity", ""),
            rule.difference(
                "information on the class, live units, S - G", "information", "bits"
            ),
        ],
    )


def _transfer(rule: _Rule) -> Claim:
    return _claim(
        8,
        [rule.errors("log linear probe error, S / G", "probe_error")],
        [
            rule.points("linear probe error of S - G", "probe_error"),
            rule.errors("log neighbours' error, S / G", "neighbour_error"),
        ],
    )
