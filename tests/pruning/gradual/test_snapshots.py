"""Snapshots come back as they were, or say which file is damaged."""

import numpy as np
import pytest

from pruning.gradual import snapshots
from pruning.gradual.snapshots import Snapshot, choose, listing, read, write

PARAMS = {
    "a": {"kernel": np.array([[1.5, 0.0], [-2.0, 1e-40]], np.float32)},
    "b": np.zeros(3, np.float32),
}
MASKS = {
    "a": {"kernel": np.array([[True, False], [True, True]])},
    "b": np.array([False, True, False]),
}


def snapshot(name="dense", *, replica=0, epoch=1, loss=0.5, error=0.1, kept=100):
    return Snapshot(replica, name, epoch, loss, error, kept, 100)


def test_round_trip(tmp_path):
    first = snapshot(error=1 / 3)
    write(tmp_path / "new", first, PARAMS, MASKS)
    assert listing(tmp_path / "new") == [first]
    params, masks = read(tmp_path / "new", first, PARAMS)
    for before, after in ((PARAMS, params), (MASKS, masks)):
        for old, new in (
            (before["a"]["kernel"], after["a"]["kernel"]),
            (before["b"], after["b"]),
        ):
            assert old.dtype == new.dtype
            np.testing.assert_array_equal(old, new)


def test_listing_is_ordered_and_may_end_early(tmp_path):
    assert listing(tmp_path / "absent") == []
    made = [
        snapshot("cut-00009", replica=1, epoch=9),
        snapshot("dense", replica=1, epoch=2),
        snapshot("cut-00011-end", epoch=11),
        snapshot("cut-00009", epoch=9),
        snapshot("dense", epoch=2),
    ]
    for item in made:
        write(tmp_path, item, PARAMS, MASKS)
    assert listing(tmp_path) == [made[4], made[3], made[2], made[1], made[0]]
    assert listing(tmp_path, last_epoch=9) == [made[4], made[3], made[1], made[0]]


def test_written_again_replaces_and_a_failure_leaves_the_old(tmp_path, monkeypatch):
    write(tmp_path, snapshot(loss=1.0), PARAMS, MASKS)
    write(tmp_path, snapshot(loss=2.0), PARAMS, MASKS)
    assert [s.loss for s in listing(tmp_path)] == [2.0]

    def half(file, **arrays):
        file.write(b"PK half a file")
        raise OSError("no space left")

    monkeypatch.setattr(snapshots.np, "savez_compressed", half)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, snapshot(loss=3.0), PARAMS, MASKS)
    assert [s.loss for s in listing(tmp_path)] == [2.0]
    assert len(list(tmp_path.iterdir())) == 1


def test_damage_names_the_file(tmp_path):
    write(tmp_path, snapshot(), PARAMS, MASKS)
    (path,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=f"{path}: not a snapshot of this network"):
        read(tmp_path, snapshot(), {"other": 0})
    with pytest.raises(ValueError, match="member003-gone"):
        read(tmp_path, snapshot("gone", replica=3), PARAMS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f"{path}: a damaged snapshot"):
        listing(tmp_path)
    with pytest.raises(ValueError, match=f"{path}: not a snapshot of this network"):
        read(tmp_path, snapshot(), PARAMS)


def test_compression():
    assert snapshot(kept=25).compression == 4.0
    assert snapshot(kept=0).compression == 100.0  # as if one were kept


FRONTIER = [
    snapshot("dense", error=0.10, loss=0.5),
    snapshot("rewind", error=0.0, loss=0.0),
    snapshot("cut-00002", epoch=2, error=0.08, loss=0.45, kept=100),
    snapshot("cut-00004", epoch=4, error=0.10, loss=0.40, kept=50),
    snapshot("cut-00006", epoch=6, error=0.12, loss=0.60, kept=20),
    snapshot("cut-00008", epoch=8, error=0.09, loss=0.70, kept=10),
    snapshot("cut-00010-end", epoch=10, error=0.11, loss=0.80, kept=5),
]


@pytest.mark.parametrize(
    "accept, name",
    [(0.0, "cut-00008"), (0.011, "cut-00010-end"), (1.0, "cut-00010-end")],
)
def test_the_accepted_point_is_the_sparsest_within_reach(accept, name):
    chosen, reached = choose(FRONTIER, target=None, accept=accept)
    assert (chosen.name, reached) == (name, True)


def test_nothing_accepted_but_dense():
    worse = [FRONTIER[0], *(s._replace(error=0.5) for s in FRONTIER[2:])]
    assert choose(worse, target=None, accept=0.1) == (FRONTIER[0], True)


def test_the_same_compression_goes_by_loss():
    pair = [snapshot(), snapshot("cut-00001", loss=0.3), snapshot("cut-00002")]
    assert choose(pair, target=None, accept=0.0)[0].loss == 0.3


@pytest.mark.parametrize(
    "target, name, reached",
    [
        (1.0, "cut-00004", True),
        (2.0, "cut-00004", True),
        (2.1, "cut-00006", True),
        (10.0, "cut-00008", True),
        (20.0, "cut-00010-end", True),
        (20.5, "cut-00010-end", False),
    ],
)
def test_a_target_takes_the_best_loss_that_reaches_it(target, name, reached):
    chosen = choose(FRONTIER, target=target, accept=0.0)
    assert (chosen[0].name, chosen[1]) == (name, reached)
