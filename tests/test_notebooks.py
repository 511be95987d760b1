"""The notebooks run from their sources, and the committed ones are those sources."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
# Beginnings of absolute paths, which would tell of the machine that ran a notebook.
PATHS = re.compile(r"(?<![\w.:/])(/(home|root|tmp|usr|opt|work|Users)/|[A-Z]:\\)")


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def check_outputs(notebook):
    """Check that a notebook ran through, in order, and said nothing it should not."""
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    given = outputs(notebook)
    assert all(output.output_type != "error" for output in given)
    assert "".join(o.text for o in given if o.get("name") == "stderr") == ""
    figures = [o for o in given if "image/png" in o.get("data", {})]
    assert len(figures) == sum("plt.show()" in cell.source for cell in cells) >= 3
    text = "".join(o.get("text", "") for o in given)
    assert len(text) > 500
    assert PATHS.search(text) is None
    assert "nan" not in text.lower()


@pytest.mark.runs
@pytest.mark.parametrize("name", NAMES)
def test_the_source_runs_at_a_small_size(name, monkeypatch):
    # The child must find the packages without being installed, run small, compile fast
    # rather than well, and keep the compiler's remarks on a busy machine to itself.
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.setenv("SYNAPTAX_SMALL", "1")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = jupytext.read(FOLDER / f"{name}.py")
    assert not outputs(notebook)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    check_outputs(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_is_its_source(name):
    source = jupytext.read(FOLDER / f"{name}.py")
    path = FOLDER / f"{name}.ipynb"
    committed = nbformat.read(path, as_version=4)
    nbformat.validate(committed)
    cells = [(cell.cell_type, cell.source) for cell in source.cells]
    assert [(cell.cell_type, cell.source) for cell in committed.cells] == cells
    assert committed.metadata.jupytext.formats == "ipynb,py:percent"
    check_outputs(committed)
    assert path.stat().st_size < 300_000


def test_every_notebook_is_tested():
    assert len(NAMES) >= 2
    assert {path.stem for path in FOLDER.iterdir() if path.is_file()} == set(NAMES)
