"""Manifests: independent of order, tamper-evident, refused where they do not fit."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from covid_cxr import manifest
from covid_cxr.index import Row, build
from covid_cxr.splits import assign

ROWS = [
    Row(f"{i}.png", f"s/{i // 2}", "s", labels={"covid": i % 3 % 2}) for i in range(24)
]
INDEX = build(ROWS)
OPTIONS = {"seed": 0, "labels": ["covid"], "by_source": True}


def frozen(index=INDEX):
    return manifest.freeze(index, assign(index), OPTIONS)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.permutations(range(len(ROWS))))
def test_the_hash_does_not_depend_on_the_order_of_the_rows(order):
    assert frozen(INDEX.select(list(order))).digest() == frozen().digest()


def test_the_hash_sees_every_change():
    digests = {frozen().digest()}
    other = build([ROWS[0]._replace(age=3), *ROWS[1:]])
    digests.add(frozen(other).digest())
    digests.add(manifest.freeze(INDEX, assign(INDEX, seed=1), OPTIONS).digest())
    digests.add(manifest.freeze(INDEX, assign(INDEX), OPTIONS | {"seed": 2}).digest())
    assert len(digests) == 4


def test_it_is_written_read_and_applied(tmp_path):
    digest = manifest.write(tmp_path / "m.json", frozen())
    again = manifest.read(tmp_path / "m.json")
    assert again.digest() == digest == frozen().digest()
    shuffled = INDEX.select(np.random.default_rng(0).permutation(len(INDEX)))
    found = manifest.apply(again, shuffled)
    wanted = dict(zip(INDEX.uid.tolist(), assign(INDEX), strict=True))
    assert found.tolist() == [wanted[uid] for uid in shuffled.uid.tolist()]


def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "m.json"
    manifest.write(path, frozen())
    content = json.loads(path.read_text())
    content["images"]["s/0.png"][0] = "elsewhere"
    path.write_text(json.dumps(content))
    with pytest.raises(manifest.ManifestError, match="was changed after"):
        manifest.read(path)
    content["version"] = 99
    path.write_text(json.dumps(content))
    with pytest.raises(manifest.ManifestError, match="version 99, expected 1"):
        manifest.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', "\x00"])
def test_what_is_no_manifest(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(manifest.ManifestError, match=r"m\.json: not a manifest"):
        manifest.read(path)


def test_it_must_fit_the_table():
    with pytest.raises(
        manifest.ManifestError, match=r"s/0\.png is in the manifest, but"
    ):
        manifest.apply(frozen(), INDEX.select(slice(1, None)))
    more = build([*ROWS, Row("x.png", "s/x", "s")])
    with pytest.raises(manifest.ManifestError, match=r"s/x\.png is in the table, but"):
        manifest.apply(frozen(), more)
    moved = build([ROWS[0]._replace(patient="s/99"), *ROWS[1:]])
    with pytest.raises(manifest.ManifestError, match="the manifest says patient s/0"):
        manifest.apply(frozen(), moved)
    with pytest.raises(ValueError, match="parts: expected shape"):
        manifest.freeze(INDEX, np.array(["train"]), OPTIONS)
