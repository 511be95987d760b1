"""What every test shares: strictness, and programs that are compiled once.

Compiled programs are kept between runs and between the processes of a run, in JAX's
persistent cache. The commands that tests start inherit it; a cache or a flag given
from outside stands.
"""

import gc
import os
import zlib
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / "programs"
# A whole run's programs several times over, for a few sets of flags side by side.
PROGRAMS_BYTES = 2 << 30
# Maps of memory at which a process lets go of its compiled programs.
MAPS = 25_000
# Folders whose files look at one training.
SHARED_TRAININGS = ("tests/covid_cxr/study", "tests/pruning/gradual")
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(PROGRAMS),
    # Every program: a test's are many, and small.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ.update(CACHE)

# Most of a test's time is compilation, which is far shorter with little optimisation;
# one level for all, so that what is compiled twice has the same bits.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# After what it reads from the environment.
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def trim(folder: Path, limit: int) -> None:
    """Remove the programs used longest ago until ``limit`` bytes are left."""
    used = []
    for path in folder.glob("*"):
        # Another run may trim the same folder.
        if (stat := path.stat() if path.exists() else None) is not None:
            used.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let .ci/full run a part of the tests."""
    parser.addoption("--sample", type=float, default=1.0, help="share of tests to run")
    parser.addoption("--sample-seed", type=int, default=0, help="which ones")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Mark slow tests as runs; keep the share of tests that was asked for, by name.

    Among several processes those that train come first: a long one that is begun last
    leaves the others idle.
    """
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("runs")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("runs") is None)
    share, seed = config.getoption("--sample"), config.getoption("--sample-seed")
    if share < 1:
        draw = lambda item: zlib.crc32(f"{seed}/{item.nodeid}".encode()) / 2**32
        left = [item for item in items if draw(item) >= share]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if draw(item) < share]


def maps_of_process() -> int:
    """Return how many maps of memory this process holds; 0 where it cannot be read."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of compiled programs between files, before there are too many.

    Each holds several maps of memory, of which Linux lets a process have 65,530; the
    compiler crashes beyond.
    """
    ends = nextitem is None or nextitem.path != item.path
    if ends and maps_of_process() > MAPS:
        jax.clear_caches()
        gc.collect()


def pytest_collection_finish() -> None:
    """Take what is imported by now out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out files, and whole folders where files share a training."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByTraining(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            folder = file.rpartition("/")[0]
            return folder if folder in SHARED_TRAININGS else file

    return ByTraining(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Bound the kept programs once, before any worker reads them."""
    if not hasattr(session.config, "workerinput"):
        trim(PROGRAMS, PROGRAMS_BYTES)


@pytest.fixture
def key() -> jax.Array:
    """Return a typed PRNG key, the same for every test."""
    return jax.random.key(0)
