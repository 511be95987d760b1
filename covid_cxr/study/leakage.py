"""Leakage: nothing that a network has learnt from may be in what it is tested on."""

from __future__ import annotations

from covid_cxr.splits import OverlapError, check_pair
from covid_cxr.study.config import NONE, StudyConfig
from covid_cxr.study.data import Library
from covid_cxr.study.mixes import LEARNT, Tables

# Bits in which hashes of one radiograph may differ: synthetic ones of different
# patients come as near as 20, copies of real ones stay within 2.
ALIKE = 10


def check_leakage(
    config: StudyConfig, held: Library, seen: Tables, mix: str, pretraining: str
) -> dict[str, list[str]]:
    """Refuse test radiographs that either stage has seen, unless that is allowed.

    Args:
        config: the study.
        held: the radiographs.
        seen: the tables of the mix and the pre-training.
        mix: name of what stage 2 is trained on, for messages.
        pretraining: name of stage 1.

    Returns:
        Test set to the kinds of overlap let pass, by name alone: examples name
        patients.

    Raises:
        OverlapError: naming the two sides.
    """
    hashes = lambda index: held.radiographs(index, NONE).hashes
    learnt = [(mix, seen.parts[part]) for part in LEARNT]
    learnt += [(pretraining, seen.first[part]) for part in seen.first]
    passed: dict[str, list[str]] = {}
    for name, test in seen.tests.items():
        kinds: dict[str, None] = {}
        for origin, table in learnt:
            try:
                overlaps = check_pair(
                    table,
                    test,
                    hashes=(hashes(table), hashes(test)),
                    within=ALIKE,
                    allow=config.allow,
                )
            except OverlapError as error:
                raise OverlapError(f"{origin} and {name}: {error}") from None
            kinds |= {one.kind: None for one in overlaps}
        passed[name] = list(kinds)
    return passed
