"""The code on the pages of the site runs, page by page; links lead somewhere."""

import re
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parents[1] / "docs"
WRITTEN = sorted(
    path
    for path in DOCS.rglob("*.md")
    if not {"_build", "generated", "results"} & set(path.relative_to(DOCS).parts)
)
CODE = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
RUN = [path for path in WRITTEN if CODE.search(path.read_text())]
# Its recipes go on from one another's names, which the page does not repeat.
RUN = [path for path in RUN if path.name != "wrappers.md"]


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    # JAX's own settings, as whoever copies the code has them.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in CODE.findall(path.read_text()):
            exec(compile(block, path.name, "exec"), names)


def test_links_between_pages_lead_somewhere():
    lost = []
    for path in WRITTEN:
        for name in re.findall(r"\{doc\}`([^`]+)`", path.read_text()):
            base = DOCS if name.startswith("/") else path.parent
            page = (base / name.lstrip("/")).with_suffix(".md")
            if "generated" not in page.parts and not page.exists():
                lost.append(f"{path.name}: {name}")
    assert not lost
