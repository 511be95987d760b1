"""Sphinx: pages by hand, the interface and the commands written here at each build."""

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import shutil
import sys
from pathlib import Path
from unittest import mock

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
PACKAGES = ("synaptax", "pruning", "analysis", "binary", "covid_cxr")
sys.path.insert(0, str(ROOT))
cli_run = importlib.import_module("synaptax.cli.program").run

project = "synaptax"
copyright = "the authors of synaptax"
release = importlib.import_module("synaptax").__version__
html_theme = "furo"
html_title = f"synaptax {release}"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
# The notebooks are executed by tests/test_notebooks.py.
nb_execution_mode = "off"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": False}
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_maximum_signature_line_length = 80
# Results name records and sources in the repository, which are no pages.
suppress_warnings = ["myst.xref_missing", "myst.header"]


def public_packages():
    """Yield the packages and subpackages that say what is public."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        if hasattr(package, "__all__"):
            yield package
        for info in pkgutil.iter_modules(package.__path__, f"{name}."):
            if info.ispkg:
                module = importlib.import_module(info.name)
                if hasattr(module, "__all__"):
                    yield module


def directive(package, name):
    """Return the reStructuredText that documents a public name of a package."""
    value = getattr(package, name)
    full = f"{package.__name__}.{name}"
    if inspect.ismodule(value):
        return f".. automodule:: {value.__name__}\n   :members:\n"
    if inspect.isclass(value):
        return f".. autoclass:: {full}\n   :members:\n   :exclude-members: __init__\n"
    if inspect.isfunction(inspect.unwrap(value)):
        return f".. autofunction:: {full}\n"
    shown = repr(value)
    shown = shown if len(shown) < 100 else f"{shown[:90]}..."
    return f".. py:data:: {full}\n   :value: {shown}\n"


def write_interface(folder):
    """Write a page for each public package."""
    documented, pages = set(), []
    for package in public_packages():
        name = package.__name__
        lines = [f"# {name}", "", "```{eval-rst}", f".. currentmodule:: {name}", ""]
        lines += [inspect.getdoc(package) or "", ""]
        for public in sorted(package.__all__, key=str.lower):
            value = getattr(package, public)
            if callable(value) and id(value) in documented:
                home = f"{value.__module__}"
                lines += [f"``{public}``: see :mod:`{home}`.", ""]
                continue
            documented.add(id(value))
            lines += [directive(package, public)]
        lines += ["```", ""]
        (folder / f"{name}.md").write_text("\n".join(lines))
        pages.append(name)
    return pages


def write_commands(path):
    """Write what each command says of itself."""
    lines = ["# Commands", "", "Each section is what `--help` says.", ""]
    for package in ("pruning", "analysis", "binary", "covid_cxr"):
        program = importlib.import_module(f"{package}.__main__").PROGRAM
        for name in program.commands:
            words = package if name == program.default else f"{package} {name}"
            lines += [f"## python -m {words}", "", "```text"]
            lines += [help_text(program, name), "```", ""]
    path.write_text("\n".join(lines))


def help_text(program, name):
    """Return what a command's ``--help`` prints, without colours, 88 columns wide."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"NO_COLOR": "1", "COLUMNS": "88"}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        cli_run(program, [name, "--help"])
    return printed.getvalue().rstrip()


def write_copies(folder):
    """Copy what lies outside of docs/, for Sphinx reads its own folder alone."""
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder / name.lower())
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(path, notebooks / path.name)


def generate(app):
    """Write all that is generated, anew at each build."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    interface = GENERATED / "interface"
    interface.mkdir(parents=True)
    pages = write_interface(interface)
    listed = "\n".join(
        ["# Interface", "", *START, "", "```{toctree}", *pages, "```", ""]
    )
    (interface / "index.md").write_text(listed)
    write_commands(GENERATED / "commands.md")
    write_copies(GENERATED)


START = (
    "The public names, from their docstrings. Every one has an example; examples begin",
    "with these imports, and the tests run them:",
    "",
    "```python",
    "import jax, jax.numpy as jnp, numpy as np, optax",
    "import pruning, analysis, synaptax",
    "import binary.network, binary.theory",
    "import covid_cxr.metrics, covid_cxr.images  # and its other subpackages",
    "```",
)


def escaped(app, what, name, obj, options, lines):
    """Keep |w| and (*batch, N), which are mathematics, from being taken for markup."""
    for number, line in enumerate(lines):
        if re.search(r"\\|:math:|>>>", line):
            continue
        parts = re.split(r"(`+[^`]*`+)", line)  # literals stay
        for even in range(0, len(parts), 2):
            part = re.sub(r"\|(?=[^|]+\|)|(?<=\w)\|", r"\\|", parts[even])
            parts[even] = re.sub(r"\*(?=batch)", r"\\*", part)
        lines[number] = "".join(parts)


def setup(app):
    """Generate pages before Sphinx looks for them."""
    app.connect("autodoc-process-docstring", escaped, priority=100)
    app.connect("builder-inited", generate)
