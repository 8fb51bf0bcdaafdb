"""`loadsmith clean` removes what earlier versions left, and nothing that a run needs."""

import json
from pathlib import Path

from filelock import FileLock

LOADED = Path("data/pipelines/shop/load/loaded")


def leave_behind() -> None:
    """Leave what 0.1 left: each package that was loaded, and a lock for each partition."""
    for number in range(1, 7):
        jobs = LOADED / f"{number}00.5" / "completed_jobs"
        jobs.mkdir(parents=True)
        (jobs / "orders.parquet").write_bytes(b"x" * 100)
    locks = Path("data/pipelines/.loadsmith")
    locks.mkdir(exist_ok=True)
    for name in ("one", "two"):
        (locks / f"{name}.lock").touch()
    (locks / "one.lock.holder").write_text("{}")
    (Path("data/pipelines/another/load/loaded/1.5")).mkdir(parents=True)


def test_clean_removes_old_packages_and_free_locks_and_says_so(shop, call):
    leave_behind()
    with FileLock("data/pipelines/.loadsmith/two.lock"):
        (told,) = json.loads(call("clean", "--json").output)
    assert told == {
        "folder": str(Path("data/pipelines").absolute()),
        "packages": 3,
        "bytes": told["bytes"],
        "locks": 1,
    }
    assert told["bytes"] >= 300
    assert sorted(path.name for path in LOADED.iterdir()) == ["400.5", "500.5", "600.5"]
    assert Path("data/pipelines/another/load/loaded/1.5").exists()
    assert [path.name for path in Path("data/pipelines/.loadsmith").glob("*.lock*")] == ["two.lock"]
    assert "0 loaded packages (0 bytes) and 1 lock file removed" in call("clean").output
    assert call("run", "shop/orders").exit_code == 0
