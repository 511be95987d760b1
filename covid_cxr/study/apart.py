"""What a network has learnt from is not what it is tested on."""

from __future__ import annotations

from covid_cxr.hashes import perceptual_hashes
from covid_cxr.splits import OverlapError, check_pair
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.data import LEARNT, Library, mixed, tests_of
from covid_cxr.study.stages import stage_one

# Bits in which hashes of one picture may differ: synthetic films of different patients
# come as near as 20, copies of real films stay within 2.
ALIKE = 10


def let_pass(
    config: StudyConfig, mix: str, pretraining: str, held: Library
) -> dict[str, list[str]]:
    """Refuse test films that either stage has seen, unless that is allowed.

    Args:
        config: the study.
        mix: name of what stage 2 is trained on.
        pretraining: name of stage 1.
        held: the films.

    Returns:
        Test set to the kinds of overlap let pass, by name alone: examples name
        patients.

    Raises:
        OverlapError: naming the two sides.
    """
    index = mixed(config.mixes[mix], held, config.split_seed)
    learnt = [(mix, held.films(index[part])) for part in LEARNT]
    if config.pretrainings[pretraining].set:
        first = stage_one(config, pretraining, held)
        learnt += [(pretraining, films) for films in first]
    seen = [(name, one.index, perceptual_hashes(one.images)) for name, one in learnt]
    passed: dict[str, list[str]] = {}
    for name, test in tests_of(config, held, index["test"]).items():
        theirs, kinds = perceptual_hashes(test.images), {}
        for origin, films, hashes in seen:
            try:
                found = check_pair(
                    films,
                    test.index,
                    hashes=(hashes, theirs),
                    within=ALIKE,
                    allow=config.allow,
                )
            except OverlapError as error:
                raise OverlapError(f"{origin} and {name}: {error}") from None
            kinds |= {kept.kind: None for kept in found}
        passed[name] = list(kinds)
    return passed
