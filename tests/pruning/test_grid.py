"""The cells of ``grid.COLUMNS`` that no other test checks; the page made from it.

All of them under ``-m slow``; by default a sample that the seed draws.
"""

import importlib
import random

import pytest

from tests.pruning.grid import COLUMNS, PAGE, TO_RUN, Other, page
from tests.pruning.surroundings import as_users_have_it, control

SAMPLE = random.Random(15).sample(range(len(TO_RUN)), 10)


def cells():
    for number, (column, case) in enumerate(TO_RUN):
        marks = () if number in SAMPLE else pytest.mark.slow
        name = f"{column.check.__name__}-{case.name}"
        yield pytest.param(column, case, marks=marks, id=name)


@pytest.mark.parametrize(("column", "case"), list(cells()))
def test_the_cell(column, case):
    other = column.others.get(case.name, Other("holds", ""))
    with as_users_have_it():
        if other.error is None:
            column.check(case)
            return
        kind, message = other.error
        with pytest.raises(kind, match=message):
            column.check(case)
        if other.kind == "optax refuses":
            with pytest.raises(kind, match=message):
                column.check(control(case))
        if other.way is not None:
            other.way(case)


def test_every_other_column_names_a_test_that_is_there():
    for column in COLUMNS:
        if isinstance(column.check, str):
            module, name = column.check.split(".")
            assert hasattr(importlib.import_module(f"tests.pruning.{module}"), name)


def test_the_page_is_made_from_the_table():
    assert page(PAGE.read_text()) == PAGE.read_text()
