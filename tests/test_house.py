"""The walls of the house: which package may import what, read from the imports."""

import ast
import importlib
import pkgutil
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("synaptax", "pruning", "analysis", "binary", "covid_cxr")
MAY_IMPORT = {
    "synaptax": (),
    "pruning": ("synaptax",),
    "analysis": ("synaptax", "pruning"),
    "binary": ("synaptax",),
    "covid_cxr": ("synaptax",),
}


def modules():
    """Return {dotted name: path} of every module of the packages."""
    named = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(p for p in parts if p != "__init__")] = path
    return named


MODULES = modules()


def imports(path, *, deferred=True):
    """Return (module, name) of each import; ``deferred``: those in functions too."""
    tree = ast.parse(path.read_text())
    found = []
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += list(ast.iter_child_nodes(node))
    return found


def of_house(deferred=True):
    """Yield (importing module, imported module, name) within the packages."""
    for name, path in MODULES.items():
        for module, imported in imports(path, deferred=deferred):
            if module.split(".")[0] in PACKAGES:
                yield name, module, imported


def test_imports_run_one_way():
    wrong = {
        f"{name} imports {module}"
        for name, module, _ in of_house()
        if module.split(".")[0]
        not in (*MAY_IMPORT[name.split(".")[0]], name.split(".")[0])
    }
    assert not wrong


def test_no_package_imports_a_private_name_of_another():
    wrong = {
        f"{name} imports {module}.{imported}"
        for name, module, imported in of_house()
        if module.split(".")[0] != name.split(".")[0]
        and any(p.startswith("_") for p in (*module.split("."), imported))
    }
    assert not wrong


def test_the_library_imports_no_experiment():
    wrong = {
        f"{name} imports {module}.{imported}"
        for name, module, imported in of_house()
        if {"experiments", "benchmarks"} & set(f"{module}.{imported}".split("."))
        and not {"experiments", "benchmarks"} & set(name.split("."))
    }
    assert not wrong


def test_there_is_no_circle():
    graph = {name: set() for name in MODULES}
    for name, module, imported in of_house():
        # `from package import module` leads to the module, not to its package.
        target = f"{module}.{imported}"
        target = target if target in MODULES else module
        if target in graph:
            graph[name].add(target)
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            done.add(path.pop())

    for name in graph:
        visit(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_hidden_behind_a_public_name(package):
    pending, hidden = [importlib.import_module(package)], []
    while pending:
        parent = pending.pop()
        for info in pkgutil.iter_modules(parent.__path__):
            full = f"{parent.__name__}.{info.name}"
            if info.name in ("__main__", "experiments", "benchmarks", "tfds_builder"):
                continue
            module = importlib.import_module(full)
            if not isinstance(getattr(parent, info.name), types.ModuleType):
                hidden.append(full)
            pending += [module] * info.ispkg
    assert not hidden
