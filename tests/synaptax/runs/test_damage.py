"""Damaged files of a run are refused by name, or what they give is in order."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax import runs
from synaptax.data.cache import open_cache
from synaptax.runs import checkpoints, config_of
from tests import damage


@dataclasses.dataclass(frozen=True)
class Config:
    model: str = "lenet300"
    rate: float = 0.1
    seeds: tuple[int, ...] = (0, 1)
    data_dir: str | None = None


STATE = {"w": jnp.arange(12.0).reshape(3, 4), "key": jax.random.key(0), "epoch": 3}


def config_file(folder):
    def in_order(config):
        assert type(config.model) is str and type(config.rate) in (int, float)
        assert all(type(seed) is int for seed in config.seeds)
        assert math.isfinite(config.rate)

    read = lambda: config_of(folder.config, Config, lambda config: None, of="a run")
    return folder.config, read, damage.json_changed, in_order


def summary(folder):
    results = {"error": 0.25, "points": [{"kept": 3}]}
    runs.write_summary(folder, results, config=Config(), seeds=[0, 1], wall_s=1.5)

    def in_order(summary):
        assert summary["wall_s"] >= 0 and isinstance(summary["results"], dict)
        assert all(type(seed) is int for seed in summary["seeds"])

    read = lambda: runs.read_summary(folder.summary)
    return folder.summary, read, damage.json_changed, in_order


def metrics(folder):
    for epoch in range(1, 6):
        record = {"epoch": epoch, "loss": [0.5, 0.25], "elapsed_s": epoch / 2}
        runs.append_metrics(folder, record)

    def in_order(records):
        epochs = [record["epoch"] for record in records if "epoch" in record]
        assert epochs == sorted(set(epochs))
        assert all(record.get("elapsed_s", 0) >= 0 for record in records)

    read = lambda: runs.read_metrics(folder)
    return folder.metrics, read, damage.json_changed, in_order


def checkpoint(folder, name):
    path = checkpoints.save(folder.checkpoints, STATE, step=3, meta={"done": 3})
    file = max(path.glob(name), key=lambda file: file.stat().st_size)

    def in_order(restored):
        assert restored.step == 3 and restored.meta == {"done": 3}
        assert restored.state["w"].tolist() == STATE["w"].tolist()

    change = damage.json_changed if file.suffix == ".json" else damage.bytes_changed
    return (
        file,
        lambda: checkpoints.restore(folder.checkpoints, STATE),
        change,
        in_order,
    )


def arrays(folder):
    made = {"score": np.linspace(0, 1, 20), "row": np.arange(20)}
    path = folder.path / "scores.npz"
    np.savez_compressed(path, **made)

    def in_order(arrays):
        assert all(array.dtype.kind != "O" for array in arrays.values())

    return path, lambda: runs.read_arrays(path), damage.arrays_changed, in_order


def cache(folder, name):
    whole = np.arange(60, dtype=np.uint8).reshape(20, 3)

    def build(create):
        create("x", whole.shape, whole.dtype)[:] = whole
        return {"count": 20}

    read = lambda: open_cache(folder.path, "set", {"of": "numbers"}, build)
    read()

    def in_order(cached):  # made anew where it is not whole
        np.testing.assert_array_equal(cached.arrays["x"], whole)
        assert cached.meta == {"count": 20}

    path = folder.path / name
    change = damage.json_changed if path.suffix == ".json" else damage.bytes_changed
    return path, read, change, in_order


KINDS = {
    "config": config_file,
    "summary": summary,
    "metrics": metrics,
    "manifest of a checkpoint": lambda f: checkpoint(f, "checkpoint.json"),
    "arrays of a checkpoint": lambda f: checkpoint(f, "arrays/ocdbt*/d/*"),
    "arrays": arrays,
    "description of a cache": lambda f: cache(f, "set.json"),
    "arrays of a cache": lambda f: cache(f, "set-x.npy"),
}


def come_of(kind, tmp_path, count):
    folder = runs.create(tmp_path, Config())
    path, read, change, in_order = KINDS[kind](folder)
    came = damage.survey(path, read, damage=change, count=count, in_order=in_order)
    print(f"{kind}: {dict(came)}")
    return came


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_by_name_or_harmless(kind, tmp_path, caplog):
    came = come_of(kind, tmp_path, damage.SAMPLE)
    if "cache" in kind:
        assert not came["refused"]  # said, and made anew
        assert len(caplog.records) > damage.SAMPLE / 2
    else:
        assert came["refused"] > damage.SAMPLE / 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_damaged_files(kind, tmp_path):
    assert come_of(kind, tmp_path, damage.ALL).total() == damage.ALL
