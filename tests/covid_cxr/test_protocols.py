"""The paper's mixes: counts as published, negatives that give the source away."""

import numpy as np
import pytest

from covid_cxr.index import Row, build, rows
from covid_cxr.protocols import MIXES, balanced, cut, mix, padded, split
from covid_cxr.splits import OverlapError, check_pair


def films(source, covid, per_patient=1):
    return build(
        Row(
            f"{i}.png",
            f"{source}/{i // per_patient}",
            source,
            labels={"covid": int(label), "pneumonia": i % 2},
        )
        for i, label in enumerate(covid)
    )


TARGET = films("corda", [1] * 297 + [0] * 150)
NEGATIVES = films("rsna", [0] * 600)
SECOND = films("cohen", [1] * 60 + [0] * 90)


def parts(name, **options):
    target = split(TARGET, published=True)
    other = {"target": None, "target+negatives": NEGATIVES}.get(name, SECOND)
    other = None if other is None else split(other, published=True)
    made = mix(name, target=target, other=other, **options)
    return {
        part: tuple(int((one.label("covid") == v).sum()) for v in (0, 1))
        for part, one in made.items()
    }


def test_the_papers_counts():
    assert parts("target")["train"] == (84, 84)
    assert parts("target")["test"] == (45, 90)
    # N_pos - N_neg negatives of another source: 81, 21 and 45.
    assert parts("target+negatives") == {
        "train": (165, 165),
        "validation": (42, 42),
        "test": (90, 90),
    }
    both = parts("target+second")
    assert both["train"][0] == both["train"][1]
    assert both["test"] == (45 + 27, 90 + 18)
    assert parts("second")["test"] == (27, 18)


def test_padding_keeps_the_target_and_takes_healthy_and_ill():
    target, other = split(TARGET), split(NEGATIVES)
    made = mix("target+negatives", target=target, other=other)
    train = made["train"]
    added = train.select(train.source == "rsna")
    assert len(train) - len(added) == len(target["train"])
    assert set(added.label("pneumonia").tolist()) == {0, 1}
    for name in ("validation", "test"):
        check_pair(made["train"], made[name])


def test_draws_depend_on_the_seed_and_not_on_the_order():
    shuffled = NEGATIVES.select(np.random.default_rng(0).permutation(600))
    one, other = (padded(TARGET, source) for source in (NEGATIVES, shuffled))
    assert one.digest() == other.digest()
    assert one.digest() != padded(TARGET, NEGATIVES, seed=1).digest()
    backwards = TARGET.select(slice(None, None, -1))
    assert balanced(TARGET).digest() == balanced(backwards).digest()


def test_by_patient_nothing_is_shared_and_by_image_it_is():
    several = films("corda", [1] * 60 + [0] * 60, per_patient=4)
    for published in (False, True):
        made = split(several, published=published)
        if published:
            with pytest.raises(OverlapError):
                check_pair(made["train"], made["test"])
        else:
            check_pair(made["train"], made["test"])


def test_unknown_labels_are_left_out():
    index = films("corda", [1, 0] * 10)
    some = build([Row("x.png", "corda/x", "corda"), *rows(index)])
    assert sum(len(part) for part in split(some).values()) == 20


def test_nothing_to_pad_or_cut():
    assert padded(NEGATIVES, NEGATIVES) is NEGATIVES
    assert len(cut(TARGET, 10_000)) == len(TARGET)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("corda", {}, "mix: expected one of target"),
        ("target", {}, "target: the mix 'target' needs it"),
        ("second", {}, "other: the mix 'second' needs it"),
        (
            "target+negatives",
            {"target": split(TARGET), "other": split(films("x", [0] * 9))},
            r"source: expected \d+ radiographs without COVID-19, got",
        ),
    ],
)
def test_bad_mixes(name, options, words):
    with pytest.raises(ValueError, match=words):
        mix(name, **options)


def test_every_mix_is_tried():
    assert set(MIXES) == {"target", "target+negatives", "target+second", "second"}
