"""Every transform against what surrounds it in other people's code: one table.

A column of ``COLUMNS`` is a surrounding, a row a transform of ``cases.CASES``. A cell
holds, perhaps with a note, or is refused with the way out, or refused by optax itself,
whatever transform stands there. ``test_grid.py`` checks the cells, but for those that
the named test of another file checks. ``docs/wrappers.md`` has the table:
``python -m tests.pruning.grid`` writes it there.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from tests.pruning import surroundings as checks
from tests.pruning.cases import CASES, Case, gradients, weights

PAGE = Path(__file__).parents[2] / "docs" / "wrappers.md"


@dataclasses.dataclass(frozen=True)
class Other:
    """A cell that does not simply hold.

    Attributes:
        kind: "holds" (but see the note), "refused" or "optax refuses".
        note: for the documentation.
        error: the error's type and a part of its message, if one is raised.
        way: a check of what the note says to write instead.
    """

    kind: str
    note: str
    error: tuple[type[Exception], str] | None = None
    way: Callable[[Case], None] | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A surrounding: its name, the check of a case or the test that makes it."""

    name: str
    check: Callable[[Case], None] | str
    others: dict[str, Other] = dataclasses.field(default_factory=dict)


CONFORMANCE = "test_conformance.test_"
TYPES = CONFORMANCE + "one_compilation_and_unchanged_types_over_many_steps"
BY_FUNCTION = ("sensitivity_decay_fn", "sensitivity_decay_refresh")
MOVING = [case.name for case in CASES if case.around and case.name != "pruned"]
NEEDY = [case.name for case in CASES if case.needs(weights(), gradients(weights(), 0))]
HOLES = Other(
    "holds",
    "where the network needs none of what is masked; else refused: put "
    "`psp_regularization` before, `chain(psp_regularization(...), masked(...))`; give "
    "`sensitivity_decay` its `sensitivity=`, or use its `prunable=`",
)
EVALUATED = Other(
    "holds",
    "of the trained weights; the evaluated ones are dense: "
    "`apply_mask(schedule_free_eval_params(...), masks_of(state))`, or "
    "`pruned(schedule_free_sgd(...), ...)`",
)
RAW = Other(
    "optax refuses",
    "`schedule_free` names its own argument `grads`: pass `raw_grads=`",
    (TypeError, "multiple values for argument 'grads'"),
    checks.schedule_free_with_raw_grads,
)
COLUMNS = [
    Column("donation of a fresh state", "test_edges.test_a_fresh_state_can_be_donated"),
    Column("`vmap` over seeds", CONFORMANCE + "scan_and_vmap_over_seeds"),
    Column("`vmap` over rates or densities", checks.vmap_over_hyperparameters),
    Column("`lax.scan`", CONFORMANCE + "scan_and_vmap_over_seeds"),
    Column(
        "`jax.shard_map`",
        checks.shard_map,
        dict.fromkeys(
            BY_FUNCTION,
            Other(
                "refused",
                "where S is that of one device's share of the batch; "
                "`pruning.sensitivity` takes the mean, for one of your own write "
                '`lax.pmean(S, "axis")`',
                (ValueError, "take the mean, lax.pmean"),
                checks.shard_map_with_the_mean,
            ),
        ),
    ),
    Column(
        "`jit` over 8 devices",
        CONFORMANCE + "explicit_sharding_over_8_devices_is_kept",
    ),
    Column("`optax.MultiSteps`", CONFORMANCE + "multi_steps"),
    Column("`optax.apply_if_finite`", checks.apply_if_finite),
    Column(
        "`optax.masked`",
        CONFORMANCE + "masked",
        dict.fromkeys(["psp_regularization", *BY_FUNCTION], HOLES),
    ),
    Column(
        "`optax.partition`",
        CONFORMANCE + "partition",
        dict.fromkeys(["psp_regularization", *BY_FUNCTION], HOLES),
    ),
    Column("`optax.inject_hyperparams`", CONFORMANCE + "inject_hyperparams"),
    Column("its rate or density changed later", checks.injected_and_changed),
    Column(
        "`contrib.schedule_free` before it",
        checks.schedule_free,
        {
            "loss_sensitivity_decay": RAW,
            "prune": EVALUATED,
            "prune_neurons_by_saliency": dataclasses.replace(
                RAW, note=RAW.note + "; then as for `prune`"
            ),
            "prune_manual": EVALUATED,
            "prune_alternating": EVALUATED,
        },
    ),
    Column(
        "`optax.lookahead` before it",
        checks.lookahead,
        dict.fromkeys(
            BY_FUNCTION,
            Other(
                "refused",
                "pass `sensitivity=LookaheadParams(S, S)` instead of `sensitivity_fn`",
                (ValueError, r"pass sensitivity=LookaheadParams\(S, S\)"),
                checks.lookahead_with_s,
            ),
        )
        | {
            "psp_regularization": Other(
                "refused",
                "add the penalty to the loss instead, with `pruning.with_psp`",
                (ValueError, "with pruning.with_psp"),
            ),
            "pruned": Other(
                "refused",
                "write `chain(lookahead(...), prune(...))`",
                (ValueError, r"write optax.chain\(inner, prune"),
                lambda case: checks.lookahead(CASES[5]),
            ),
        }
        | dict.fromkeys(
            MOVING,
            Other(
                "refused",
                "write `chain(lookahead(...), prune(...))`",
                (ValueError, r"write optax.chain\(lookahead\(...\), prune"),
            ),
        ),
    ),
    Column(
        "`optax.ema` of updates before it",
        checks.ema,
        dict.fromkeys(
            checks.PRUNES,
            Other(
                "holds",
                "an average of the weights themselves is dense: "
                "`apply_mask(average, masks_of(state))`",
            ),
        ),
    ),
    Column("`optax.lbfgs` before it", checks.lbfgs),
    Column(
        "`contrib.sam` before it",
        checks.sam,
        {
            name: Other(
                "optax refuses",
                "`sam` takes no extra arguments: hide them from it, "
                "`GradientTransformationExtraArgs(sam.init, lambda u, s, p, **extra: "
                "sam.update(u, s, p))`",
                (TypeError, "unexpected keyword argument"),
                checks.sam_with_its_arguments_dropped,
            )
            for name in NEEDY
        }
        | dict.fromkeys(
            ["prune", "prune_manual", "prune_alternating", "pruned", *MOVING],
            Other("holds", "ascent steps count as updates of the schedule"),
        ),
    ),
    Column(
        "a state restored under another rate or schedule", checks.restored_and_changed
    ),
    Column("float16", checks.float16),
    Column(
        "bfloat16", CONFORMANCE + "one_compilation_and_unchanged_types_over_many_steps"
    ),
    Column(
        "float32", CONFORMANCE + "one_compilation_and_unchanged_types_over_many_steps"
    ),
    Column("complex64", checks.complex64),
    Column("`jax_enable_x64`", checks.x64),
    Column("`jax.debug_nans`", checks.debug_nans),
    Column("`jax.disable_jit`", checks.disable_jit),
]
TO_RUN = [
    (column, case) for column in COLUMNS if callable(column.check) for case in CASES
]


def table() -> str:
    """Return the table of the documentation: a line a surrounding, notes below."""
    names = [case.name for case in CASES]
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    notes: list[str] = []
    for column in COLUMNS:
        cells = []
        for name in names:
            other = column.others.get(name, Other("holds", ""))
            if other.note and other.note not in notes:
                notes.append(other.note)
            number = f" ({notes.index(other.note) + 1})" if other.note else ""
            cells.append(other.kind + number)
        lines.append(f"| {column.name} | " + " | ".join(cells) + " |")
    numbered = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([*lines, "", *numbered])


def page(text: str) -> str:
    """Return the page with its table made anew."""
    start, end = "<!-- grid -->\n", "\n<!-- end of the grid -->"
    before, rest = text.split(start)
    return before + start + table() + end + rest.split(end)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
