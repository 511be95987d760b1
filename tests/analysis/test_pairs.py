"""Second-order PSP-entropy against explicit loops over pairs, and its memory."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from analysis import pairs

CLASSES = 3


def sample(seed=0, examples=41, neurons=7):
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0, 1, neurons)
    on = rng.uniform(size=(examples, neurons)) < rate
    on[:, 2] = False
    labels = np.concatenate(
        [np.arange(CLASSES), rng.integers(0, CLASSES, examples - CLASSES)]
    )
    return on, labels


def clipped(frequency):
    return min(max(frequency, 1e-4), 0.9999)


def pair_entropy(a, b, form):
    """Return the entropy of one pair within one class, by counting."""
    count = len(a)
    states = [(p, q) for p, q in zip(a, b, strict=True)]
    if form == "xnor":
        same = sum(p == q for p, q in states)
        outcomes = [same, count - same]
    else:
        outcomes = [
            states.count(state) for state in itertools.product([False, True], repeat=2)
        ]
    frequencies = [clipped(k / count) for k in outcomes]
    return -sum(f * math.log2(f) for f in frequencies)


def loop(on, labels, form):
    total = np.zeros(CLASSES)
    neurons = on.shape[1]
    for c in range(CLASSES):
        rows = on[labels == c]
        for j in range(neurons):
            for i in range(j):
                total[c] += pair_entropy(rows[:, i], rows[:, j], form)
    return total / (neurons * (neurons - 1) / 2)


def draft_loop(on, labels):
    """Follow the draft: the diagonal too, n^2 / 2, one term."""
    total = np.zeros(CLASSES)
    neurons = on.shape[1]
    for c in range(CLASSES):
        rows = on[labels == c]
        same = 0
        for i in range(neurons):
            for j in range(i + 1):
                same += sum(a == b for a, b in zip(rows[:, i], rows[:, j], strict=True))
        f = same / (len(rows) * neurons**2 / 2)
        total[c] = -(1 - f) * math.log2(1 - f + 1e-15)
    return total


@pytest.mark.parametrize("block", [1024, 3])
@pytest.mark.parametrize("form", ["xnor", "joint"])
def test_pairs_equal_the_loop(monkeypatch, form, block):
    monkeypatch.setattr(pairs, "BLOCK", block)
    on, labels = sample()
    found = pairs.second_order(on, labels, CLASSES, form=form)
    wanted = loop(on, labels, form)
    np.testing.assert_allclose(found.per_class, wanted, rtol=1e-5)
    assert found.mean == pytest.approx(wanted.sum(), rel=1e-5)
    assert found.per_neuron.mean() == pytest.approx(found.mean, rel=1e-12)
    live = np.arange(on.shape[1]) != 2
    assert found.live == pytest.approx(loop(on[:, live], labels, form).sum(), rel=1e-5)


@pytest.mark.parametrize("block", [1024, 3])
def test_the_draft_equals_its_loop(monkeypatch, block):
    monkeypatch.setattr(pairs, "BLOCK", block)
    on, labels = sample()
    found = pairs.second_order(on, labels, CLASSES, form="draft")
    np.testing.assert_allclose(found.per_class, draft_loop(on, labels), rtol=1e-5)
    live = np.arange(on.shape[1]) != 2
    wanted = draft_loop(on[:, live], labels).sum()
    assert found.live == pytest.approx(wanted, rel=1e-5)
    assert found.per_neuron is None


def test_the_draft_has_no_value_where_its_frequency_exceeds_one():
    labels = np.array([0, 1, 2, 0])
    found = pairs.second_order(np.ones((4, 5), bool), labels, CLASSES, form="draft")
    assert math.isnan(found.mean)  # f = (n + 1) / n


def test_closed_values():
    # Two neurons that always agree, and a third that agrees half the time.
    labels = np.repeat(np.arange(2), 4)
    a = np.tile([True, True, False, False], 2)
    b = np.tile([True, False, True, False], 2)
    on = np.stack([a, a, b], axis=1)
    floor = -(1e-4 * math.log2(1e-4) + 0.9999 * math.log2(0.9999))
    found = pairs.second_order(on, labels, 2, form="xnor")
    np.testing.assert_allclose(found.per_neuron, 2 * np.array([
        (1 + floor) / 2, (1 + floor) / 2, 1]), rtol=1e-5)  # fmt: skip
    joint = pairs.second_order(on, labels, 2, form="joint")
    agree = 1 - 2 * 1e-4 * math.log2(1e-4)
    assert joint.mean == pytest.approx(2 * (agree + 2 + 2) / 3, rel=1e-5)


def test_alive_narrows_the_live_pairs():
    on, labels = sample(1)
    alive = np.ones(on.shape[1], bool)
    alive[[0, 4]] = False
    found = pairs.second_order(on, labels, CLASSES, alive=alive)
    kept = alive & (np.arange(on.shape[1]) != 2)
    wanted = loop(on[:, kept], labels, "xnor").sum()
    assert found.live == pytest.approx(wanted, rel=1e-5)
    lonely = np.arange(on.shape[1]) == 0
    assert math.isnan(pairs.second_order(on, labels, CLASSES, alive=lonely).live)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "both"}, "form: expected one of xnor, joint, draft"),
        ({"on": np.ones((4, 1), bool)}, "on: expected booleans"),
        ({"on": np.ones((4, 3))}, "on: expected booleans"),
        ({"labels": np.array([0, 1, 2])}, "labels: expected integers of shape"),
        ({"labels": np.array([0, 1, 1, 0])}, "labels: no example of class 2"),
        ({"labels": np.array([2, 2, 2, 2])}, "all are of class 2"),
        ({"labels": np.array([0, 1, 2, 9])}, "labels: 1 lie outside"),
        ({"alive": np.ones(4, bool)}, "alive: expected shape"),
        ({"classes": 1}, "classes: expected at least 2"),
    ],
)
def test_bad_input(change, message):
    arguments = {
        "on": np.ones((4, 3), bool),
        "labels": np.array([0, 1, 2, 0]),
        "classes": CLASSES,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        pairs.second_order(**arguments)


CONV1 = """
import resource, time
import numpy as np
from analysis import pairs
rng = np.random.default_rng(0)
on = rng.random((10_000, 11_520), np.float32) < 0.3
labels = np.arange(10_000) % 10
start = time.perf_counter()
found = pairs.second_order(on, labels, 10, form="joint")
seconds = time.perf_counter() - start
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, seconds, found.mean)
"""


@pytest.mark.slow
def test_the_first_layer_of_lenet5_fits_in_two_gib():
    done = subprocess.run(
        [sys.executable, "-c", CONV1], capture_output=True, text=True, check=True
    )
    gib, seconds, mean = map(float, done.stdout.split())
    print(f"peak {gib:.2f} GiB, {seconds:.0f} s")
    assert gib < 2
    # Independent states: the joint entropy is twice that of one neuron.
    one = -(0.3 * math.log2(0.3) + 0.7 * math.log2(0.7))
    assert mean == pytest.approx(10 * 2 * one, rel=0.01)
