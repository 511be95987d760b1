"""Labels, scores and radiographs that no probe may take for others."""

import jax
import numpy as np
import pytest

from covid_cxr import bias
from covid_cxr.bias.linear import pixels
from covid_cxr.bias.spectra import texture
from covid_cxr.index import Row, build
from tests import unchecked

N = 24
INDEX = build([Row(f"{i}", f"p{i}", f"s{i % 2}") for i in range(N)])
LABEL, SCORE = np.arange(N) // 2 % 2, np.linspace(0, 1, N)
IMAGES = np.random.default_rng(0).random((N, 16, 16)).astype(np.float32)
FEATURES = IMAGES[:, :3, 0]
DRAWS = {"key": jax.random.key(0), "replicates": 20}
PROBES = {
    "same_source": lambda label: bias.same_source(INDEX, label, SCORE, **DRAWS),
    "sweep": lambda label: bias.sweep(INDEX, label, INDEX.source == "s0", FEATURES),
    "shuffled": lambda label: bias.shuffled_within_source(INDEX, label),
    "transfer": lambda label: bias.transfer(label, SCORE, INDEX.patient, **DRAWS),
}


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize(
    "label",
    [LABEL + 1, 2 * LABEL - 1, LABEL * 0.5, LABEL.astype(str), None, LABEL[:, None]],
    ids=["1 and 2", "-1 and 1", "halves", "text", "None", "2d"],
)
def test_labels_are_0_and_1(name, label):
    with unchecked(), pytest.raises(ValueError, match="label: expected"):
        PROBES[name](label)


@pytest.mark.parametrize("score", [np.where(LABEL, np.nan, SCORE), SCORE * 1j, ["a"]])
def test_scores_are_finite_numbers(score):
    for probe in (
        lambda: bias.same_source(INDEX, LABEL, score, **DRAWS),
        lambda: bias.transfer(LABEL, score, INDEX.patient, **DRAWS),
    ):
        with unchecked(), pytest.raises(ValueError, match="score: "):
            probe()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PROBES["same_source"](LABEL[:5]), "label: expected 24, one an image"),
        (
            lambda: bias.transfer(
                LABEL, SCORE, INDEX.patient, threshold=np.nan, **DRAWS
            ),
            "threshold: expected a number",
        ),
        (
            lambda: bias.sweep(INDEX, LABEL, INDEX.source, FEATURES),
            "covariate: expected 24 booleans",
        ),
        (
            lambda: bias.sweep(INDEX, LABEL, LABEL == 1, FEATURES[:5]),
            "features: expected .24, k.",
        ),
        (lambda: pixels(IMAGES[..., None]), "images: expected .n, S, S."),
        (lambda: pixels(IMAGES[:, :, :9]), "images: expected .n, S, S."),
        (lambda: texture(INDEX, LABEL, IMAGES[..., None]), "images: expected .n, S"),
    ],
)
def test_refused_by_name(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()
