#!/usr/bin/env python
"""Change one place of the code at a time and see whether the tests notice.

    python .ci/mutants.py --group pruning --count 60 --seed 0

Needs ``pip install -e '.[dev-full]'`` (cosmic-ray, for its ways to change code). The
places are drawn with the seed, uniformly over the modules of a group, and one of the
changes that are possible at each; then the module's own tests run on a copy of the
checkout. A change that they let pass is printed with its diff, unless ``EQUIVALENT``
says why it changes nothing. More than ``--allowed`` of them is a failure.
"""

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parents[1]

# Module: the tests that are to notice, what kills most first; -k=EXPRESSION without
# spaces may stand among them. A group is what --group names.
_FOLDER = "tests/pruning/test_"
GROUPS: dict[str, dict[str, str]] = {
    "pruning": {
        "pruning/_select.py": f"{_FOLDER}selection.py {_FOLDER}schedules.py",
        "pruning/selection.py": f"{_FOLDER}selection.py {_FOLDER}structures.py",
        "pruning/_prune.py": f"{_FOLDER}transforms.py {_FOLDER}wrappers.py "
        f"{_FOLDER}edges.py",
        "pruning/_pruned.py": f"{_FOLDER}transforms.py {_FOLDER}wrappers.py "
        f"{_FOLDER}edges.py",
        "pruning/_decay.py": f"{_FOLDER}decay.py {_FOLDER}conformance.py -k=decay",
        "pruning/masks.py": f"{_FOLDER}masks.py {_FOLDER}report.py",
        "pruning/_sensitivity.py": f"{_FOLDER}sensitivity.py",
        "pruning/_output_weights.py": f"{_FOLDER}sensitivity.py {_FOLDER}sampled.py",
        "pruning/_definition.py": f"{_FOLDER}sensitivity.py",
        "pruning/_contract.py": f"{_FOLDER}sensitivity.py",
        "pruning/psp.py": f"{_FOLDER}psp.py {_FOLDER}neurons.py",
        "pruning/thresholds.py": f"{_FOLDER}thresholds.py",
        "pruning/schedules.py": f"{_FOLDER}schedules.py {_FOLDER}rewired.py",
    },
    "analysis": {
        "analysis/entropy.py": "tests/analysis/test_entropy.py",
        "analysis/lanczos.py": "tests/analysis/test_lanczos.py",
        "analysis/summaries.py": "tests/analysis/test_summaries.py",
    },
    "binary": {
        "binary/likelihood.py": "tests/binary/test_likelihood.py",
        "binary/theory/_gardner.py": "tests/binary/theory/test_gardner.py",
    },
    "covid_cxr": {
        "covid_cxr/metrics/resampling.py": "tests/covid_cxr/metrics/test_resampling.py",
        "covid_cxr/metrics/_delong.py": "tests/covid_cxr/metrics/test_delong.py",
        "covid_cxr/splits.py": "tests/covid_cxr/test_splits.py",
    },
    "runs": {
        f"synaptax/runs/{module}.py": f"tests/synaptax/runs/test_{tests}.py"
        for module, tests in (
            ("checkpoints", "checkpoints"),
            ("folder", "folder.py tests/synaptax/runs/test_ownership"),
            ("files", "ownership.py tests/synaptax/runs/test_folder"),
            ("locks", "ownership"),
            ("reading", "damage.py tests/pruning/gradual/test_snapshots"),
        )
    },
}

# Changes that no test can notice: (module, old line, new line): why.
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "pruning/_contract.py",
        "first = jax.tree.map(lambda values: values[0], seen.records[use])",
        "first = jax.tree.map(lambda values: values[ -1], seen.records[use])",
    ): "the transpose of an addition is the same wherever it is taken",
    (
        "pruning/masks.py",
        "if counts.total == 0:",
        "if counts.total <= 0:",
    ): "a count is never negative",
    (
        "pruning/_select.py",
        "return (step < width) & ~jnp.all(exact)",
        "return (step != width) & ~jnp.all(exact)",
    ): "step goes up by 2 from 0 and meets the width, 32 or 64, exactly",
    (
        "pruning/_select.py",
        "middles = [low + quarter, low + (high - low) // 2, high - 1 - quarter]",
        "middles = [low + quarter, low >> (high - low) // 2, high - 1 - quarter]",
    ): "clipped to low: any middles give the same index, in more passes",
    (
        "pruning/_select.py",
        "return lax.while_loop(unfinished, body, (low, high))[0]",
        "return lax.while_loop(unfinished, body, (low, high))[ 1]",
    ): "the search ends where low equals high",
    (
        "pruning/schedules.py",
        "dense = (at < 0) | (odd & (at < self.end))",
        "dense = (at < 0) | (odd & (at != self.end))",
    ): "last() is never past the end",
    (
        "pruning/schedules.py",
        "regular = step - jnp.maximum(step - self.begin, 0) % self.every",
        "regular = step - jnp.maximum(step - self.begin, -1) % self.every",
    ): "differs before begin alone, where the next line but one returns -1",
    (
        "analysis/entropy.py",
        "wide = z if z.dtype == jnp.float64 else z.astype(jnp.float32)",
        "wide = z if z.dtype >= jnp.float64 else z.astype(jnp.float32)",
    ): "there is no wider real type",
    (
        "analysis/lanczos.py",
        "noise = 100 * jnp.finfo(start.dtype).eps * jnp.linalg.norm(start)",
        "noise = 99 * jnp.finfo(start.dtype).eps * jnp.linalg.norm(start)",
    ): "rounding lies far below both, and a direction far above",
    (
        "analysis/summaries.py",
        '@functools.partial(jax.jit, static_argnames="replicates")',
        "",
    ): "the same numbers, more slowly",
    (
        "covid_cxr/metrics/resampling.py",
        "jnp.maximum(drawn.size - 1, 0),",
        "jnp.maximum(drawn.size << 1, 0),",
    ): "u < 1 in float32: u * size rounds to less than a size under 2^24",
}

# `is` for `==` and the like says the same of what it is used on, or nonsense.
_IDENTITY = ("_Is", "Is_", "IsNot_")
_NEGATED = (
    "core/ReplaceComparisonOperator_Is_IsNot",
    "core/ReplaceComparisonOperator_IsNot_Is",
)
# What every test imports and no mutant changes: imported once.
_PRELOAD = [
    "__main__",
    "tests.conftest",
    "numpy",
    "optax",
    "flax.nnx",
    "flax.linen",
    "hypothesis",
]


def operators():
    """Return cosmic-ray's operators by name, but for those without a meaning here."""
    names = [
        name
        for name in plugins.operator_names()
        if not name.startswith("core/Variable")  # needs arguments
        and (name in _NEGATED or not any(pair in name for pair in _IDENTITY))
    ]
    return {name: plugins.get_operator(name)() for name in names}


def idle(source):
    """Return the (line, column) ranges of annotations and of zip's ``strict=``.

    Nothing in an annotation runs, and ``strict=True`` is an assertion: where it holds,
    as it must, dropping it changes nothing.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        for part in parts:
            if part is not None:
                start = (part.lineno, part.col_offset)
                found.append((start, (part.end_lineno, part.end_col_offset)))
    return found


def places(source, known):
    """Return {position: [(operator, occurrence)]} of a module."""
    skipped = idle(source)
    nodes = list(ast_nodes(get_ast(source)))
    found = {}
    for name, operator in known.items():
        occurrence = 0
        for node in nodes:
            for start, stop in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in skipped):
                    found.setdefault((start, stop), []).append((name, occurrence))
                occurrence += 1
    return found


def mutated(source, operator, occurrence):
    """Return the changed source, or None if it is no Python: the * of a signature."""
    mutant = mutate_code(source, operator, occurrence)
    try:
        compile(mutant, "mutant", "exec")
    except SyntaxError:
        return None
    return mutant


def drawn(modules, count, seed, known):
    """Return ``count`` changes [(module, source, mutant)], drawn by place."""
    rng = random.Random(seed)
    choices = []
    for module in sorted(modules):
        source = (ROOT / module).read_text()
        found = sorted(places(source, known).items())
        choices += [(module, source, ways) for _, ways in found]
    rng.shuffle(choices)
    mutants = []
    for module, source, ways in choices:
        operator, occurrence = rng.choice(ways)
        mutant = mutated(source, known[operator], occurrence)
        if mutant is not None:
            mutants.append((module, source, mutant))
        if len(mutants) == count:
            break
    return mutants, len(choices)


def copied(folder):
    """Copy the checkout, what is not committed yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def child(tests, log):
    """Run tests in this process, forked with JAX imported but not started."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import pytest

    options = ["-n0", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    options += ["-W", "ignore:Module already imported"]
    os._exit(pytest.main([*options, *tests.split()]))


def verdict(server, tests, log, limit):
    """Return (what the tests say, seconds)."""
    begun = time.monotonic()
    process = server.Process(target=child, args=(tests, str(log)), daemon=True)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return "timeout", time.monotonic() - begun
    known = {0: "survived", 1: "killed", 2: "killed"}
    return known.get(process.exitcode, "killed"), time.monotonic() - begun


def changed_lines(before, after):
    """Return (the lines that went, those that came), stripped and joined."""
    diff = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    pick = lambda sign: " ".join(line[2:].strip() for line in diff if line[0] == sign)
    return pick("-"), pick("+")


def options():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Mutants of a group of modules.")
    parser.add_argument("--group", default="pruning", choices=GROUPS)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--allowed", type=int, default=2, help="survivors allowed")
    parser.add_argument("--module", help="this module of the group alone")
    parser.add_argument("--first", type=int, default=0, help="skip mutants before it")
    return parser.parse_args()


def prepared(folder):
    """Copy the checkout, go there, and return what forks processes with JAX loaded."""
    cache = ROOT / ".pytest_cache" / "programs"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # A file changed twice in a second must not be taken from its compiled form.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONPATH"] = str(folder)
    copied(folder)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(_PRELOAD)
    return server


def judged(mutants, modules, folder, first=0):
    """Yield (number, module, lines, verdict) of each mutant."""
    server, log, limits = prepared(folder / "checkout"), folder / "log", {}
    for number, (module, source, mutant) in enumerate(mutants):
        if number < first:
            continue
        tests = modules[module]
        if tests not in limits:
            found, seconds = verdict(server, tests, log, 3600)
            if found != "survived":
                sys.exit(f"{tests}: fails as it stands\n{log.read_text()}")
            limits[tests] = 60 + 5 * seconds
        Path(module).write_text(mutant)
        found, seconds = verdict(server, tests, log, limits[tests])
        Path(module).write_text(source)
        lines = changed_lines(source, mutant)
        if found == "survived" and (module, *lines) in EQUIVALENT:
            found = "equivalent"
        print(
            f"{number:3} {found:10} {seconds:5.1f} s {module}: {lines[1]}", flush=True
        )
        yield number, module, lines, found


def main():
    """Draw, run, report."""
    args = options()
    modules = GROUPS[args.group]
    if args.module:
        modules = {args.module: modules[args.module]}
    mutants, total = drawn(modules, args.count, args.seed, operators())
    print(f"{len(mutants)} of {total} places in {len(modules)} modules", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        results = list(judged(mutants, modules, Path(temporary), args.first))
        os.chdir(ROOT)
    survivors = 0
    for number, module, (old, new), found in results:
        if found in ("survived", "equivalent"):
            reason = EQUIVALENT.get((module, old, new), "")
            print(f"{found}: {number} {module} {reason}\n  - {old}\n  + {new}")
            survivors += found == "survived"
    print(f"{survivors} of {len(results)} mutants survived")
    sys.exit(survivors > args.allowed)


if __name__ == "__main__":
    main()
