"""The setting that lets failed jobs pass is read as dlt reads booleans."""

import pytest

from loadsmith.engine.dlt_hooks.failed_jobs import failed_jobs_raise


@pytest.mark.parametrize(
    ("value", "is_overruled"),
    [("0", True), ("no", True), ("False", True), ("1", False), ("true", False), ("x", False)],
)
def test_each_word_for_false_is_overruled(monkeypatch, value, is_overruled):
    monkeypatch.setenv("LOAD__RAISE_ON_FAILED_JOBS", value)
    with failed_jobs_raise() as found:
        found.get_value("raise_on_failed_jobs", bool, None, "load")
        assert found.overruled is is_overruled
