"""Run folders: whole files, clear errors, a log that resumes where it should."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax import runs
from synaptax.runs import files


@dataclasses.dataclass(frozen=True)
class Config:
    model: str = "lenet300"
    rate: float = 0.1
    seeds: tuple[int, ...] = (0, 1)
    run_dir: Path = Path("runs/one")
    resume: bool = False


class Info(NamedTuple):
    kept: int
    loss: float


def test_create_writes_the_config(tmp_path):
    folder = runs.create(tmp_path / "deep" / "run", Config())
    assert json.loads(folder.config.read_text()) == {
        "model": "lenet300",
        "rate": 0.1,
        "seeds": [0, 1],
        "run_dir": "runs/one",
        "resume": False,
    }
    assert folder.checkpoints == tmp_path / "deep" / "run" / "checkpoints"


def test_create_again(tmp_path):
    folder = runs.create(tmp_path, Config())
    before = folder.config.read_text()
    with pytest.raises(ValueError, match=f"{tmp_path} already holds a run"):
        runs.create(tmp_path, Config())
    again = runs.create(tmp_path, Config(resume=True, run_dir=Path("x")), resume=True)
    assert again == folder
    with pytest.raises(ValueError, match=r"rate = 0\.1, not 0\.2"):
        runs.create(tmp_path, Config(rate=0.2), resume=True)
    assert folder.config.read_text() == before


def test_resume_of_nothing_begins_a_run(tmp_path):
    folder = runs.create(tmp_path / "new", Config(), resume=True)
    assert folder.config.exists()


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write the run folder {tmp_path}/file/r"):
        runs.create(tmp_path / "file" / "r", Config())


def test_fresh_path_counts_up(tmp_path):
    assert runs.fresh_path(tmp_path, "digits") == tmp_path / "digits-1"
    for name in ("digits-2", "digits-10", "digits-old", "other-99"):
        (tmp_path / name).mkdir()
    assert runs.fresh_path(tmp_path, "digits") == tmp_path / "digits-11"


def test_metrics_resume(tmp_path):
    folder = runs.create(tmp_path, Config())
    assert runs.read_metrics(folder) == []
    runs.append_metrics(folder, {"event": "begin"})
    for epoch in range(4):
        runs.append_metrics(folder, {"epoch": epoch, "loss": jnp.float32(0.5)})
    with folder.metrics.open("a") as file:
        file.write('{"epoch": 4, "lo')  # killed in the middle of a line
    assert [r.get("epoch") for r in runs.read_metrics(folder)] == [None, 0, 1, 2, 3]
    runs.create(tmp_path, Config(), resume=True)
    assert folder.metrics.read_text().endswith('{"epoch": 3, "loss": 0.5}\n')
    runs.keep_metrics(folder, last=1)
    runs.append_metrics(folder, {"epoch": 2, "loss": float("nan")})
    assert runs.read_metrics(folder) == [
        {"event": "begin"},
        {"epoch": 0, "loss": 0.5},
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": "nan"},
    ]


def test_a_damaged_line_is_named(tmp_path):
    folder = runs.create(tmp_path, Config())
    folder.metrics.write_text('{"epoch": 0}\nnoise\n{"epoch": 1}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        runs.read_metrics(folder)
    folder.metrics.write_text("[1]\n")
    with pytest.raises(ValueError, match="line 1: not an object"):
        runs.read_metrics(folder)
    for record in ({"epoch": 2**63}, {"epoch": True}, {"loss": 10**400}):
        folder.metrics.write_text(f'{{"epoch": 0}}\n{json.dumps(record)}\n')
        with pytest.raises(runs.FileError, match=r"metrics\.jsonl, line 2: .{,90}$"):
            runs.read_metrics(folder)


def test_summary(tmp_path):
    folder = runs.create(tmp_path, Config())
    results = {"error": np.float32(0.25), "info": Info(3, float("inf"))}
    written = runs.write_summary(
        folder, results, config=Config(), seeds=[0, 1], wall_s=1.23456
    )
    summary = json.loads(folder.summary.read_text())
    assert summary == written
    assert summary["results"] == {"error": 0.25, "info": {"kept": 3, "loss": "inf"}}
    assert summary["wall_s"] == 1.235 and summary["seeds"] == [0, 1]
    assert summary["config"]["rate"] == 0.1
    assert summary["versions"]["jax"] == jax.__version__
    assert set(summary["versions"]) == {
        *("python", "synaptax", "jax", "jaxlib", "flax", "optax", "numpy")
    }
    assert summary["device"]["platform"] == jax.devices()[0].platform
    assert summary["command"]
    assert runs.read_summary(folder.summary) == written
    brief = runs.write_summary(folder, {}, config=Config(), seeds=[], wall_s=0.25)
    assert runs.read_summary(folder.summary) == brief


def test_the_first_wrong_field_of_a_summary_is_named(tmp_path):
    folder = runs.create(tmp_path, Config())

    def refused(message):
        with pytest.raises(runs.FileError, match=message):
            runs.read_summary(folder.summary)

    runs.write_json(folder.summary, {"command": "", "results": {}, "wall_s": 1.0})
    refused("field config: missing")
    runs.write_json(folder.summary, {"seeds": "x" * 57})
    refused(f"seeds: expected list, got '{'x' * 57}'$")
    runs.write_json(folder.summary, {"seeds": "x" * 58})
    refused(f"seeds: expected list, got '{'x' * 58}'$")
    runs.write_json(folder.summary, {"seeds": "x" * 59})
    refused(rf"seeds: expected list, got '{'x' * 59}\.\.\.$")


def test_command_line_holds_no_machine_path(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "__init__.py").write_text("")
    code = "from synaptax.runs import command_line; print(command_line())"
    (tmp_path / "job" / "__main__.py").write_text(code)
    (tmp_path / "job" / "script.py").write_text(code)

    def output(*arguments):
        return subprocess.run(
            [sys.executable, *arguments, "--rate", "0.1", "two words"],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            env={"PYTHONPATH": f"{Path(runs.__file__).parents[2]}:{tmp_path}"},
            text=True,
        ).stdout.strip()

    assert output("-m", "job") == "python -m job --rate 0.1 'two words'"
    script = output(str(tmp_path / "job" / "script.py"))
    assert script == "python script.py --rate 0.1 'two words'"


@pytest.mark.parametrize(
    "value, expected",
    [
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (jnp.asarray([0.5, jnp.nan, -jnp.inf]), [0.5, "nan", "-inf"]),
        ({1: (True, None)}, {"1": [True, None]}),
        ({"b", "a"}, ["a", "b"]),
        (jnp.ones((), jnp.bfloat16), 1.0),
        (np.bool_(True), True),
    ],
)
def test_jsonable(value, expected):
    out = runs.jsonable(value)
    assert out == expected
    assert json.loads(json.dumps(out, allow_nan=False)) == out


def test_jsonable_names_what_it_cannot_hold():
    with pytest.raises(TypeError, match="a function cannot be written as JSON"):
        runs.jsonable({"f": test_jsonable})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    runs.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert runs.read_json(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"file\.json: not JSON"):
        runs.read_json(path)
