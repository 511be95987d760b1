"""The README does what it says: its example runs, its commands and links exist."""

import re
import tomllib
from pathlib import Path

import jax.numpy as jnp
import pytest

import pruning

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.runs
def test_the_example_runs_and_prunes():
    (example,) = blocks("python")
    assert "assert " in example
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    total = sum(weight.size for weight in names["params"].values())
    kept = sum(int(jnp.sum(w != 0)) for w in names["params"].values())
    assert total == 7400 and abs(kept - 740) <= 1
    assert abs(float(pruning.density(names["masks"])) - 0.1) < 1e-3
    predicted = names["apply_fn"](names["params"], names["x"]).argmax(-1)
    assert float(jnp.mean(predicted == names["y"])) > 0.9


def test_the_commands_name_extras_and_modules_that_exist():
    commands = [block.strip() for block in blocks("sh")]
    assert commands == [
        "git clone REPOSITORY synaptax && cd synaptax "
        "&& pip install -e '.[lab]' && python -m pruning",
        "pip install -e '.[test]' && pytest -n auto",
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"lab", "test"} <= set(project["optional-dependencies"])
    assert (ROOT / "pruning" / "__main__.py").is_file()


def test_links_and_packages_exist():
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", README)
    assert {"RESULTS.md", "LICENSE"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []
    packages = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)
    assert packages == ["pruning", "analysis", "binary", "covid_cxr"]
    for package in packages:
        assert (ROOT / package / "__init__.py").is_file()
