"""What loadsmith replaces in dlt: the list knows all of it, and nothing of it fails silently."""

import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pyarrow
import pytest
from dlt.extract.extract import Extract
from dlt.extract.incremental import Incremental
from dlt.extract.incremental.transform import IncrementalTransform
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.assets import _dagster
from loadsmith.engine.dlt_hooks import HOOKS, WindowIncremental, check, window_pages
from loadsmith.engine.dlt_hooks.extract import WatchedExtract
from loadsmith.engine.dlt_hooks.pipeline import LoadsmithPipeline
from loadsmith.engine.dlt_hooks.providers import providers
from loadsmith.engine.dlt_hooks.register import UNTESTED_VARIABLE, Hook, differences_of_hook
from loadsmith.engine.dlt_hooks.trace import redacted_traces
from loadsmith.engine.run import run_load
from loadsmith.engine.settings import Setting, effective_settings
from loadsmith.errors import RunError
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    Window,
)


def load_of(folder: Path, *rows: Any, name: str = "things", **hints: Any) -> LoadDefinition:
    def source() -> Any:
        made = dlt.resource(list(rows), name=name, **hints)
        return dlt.source(lambda: made, name="one")()

    return LoadDefinition(
        name="one",
        source=source,
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "one.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="one", dataset_name="raw", pipelines_dir=str(folder / "pipelines")
        ),
    )


def run(definition: LoadDefinition, **request: Any) -> list[str]:
    warnings: list[str] = []
    with run_load(definition, RunRequest(run_id="run", warn=warnings.append, **request)):
        return warnings


def differing(hook: Hook, known: str = "another") -> Hook:
    """Return the hook as it is with a dlt whose functions are not those that were tested."""
    return replace(hook, uses=dict.fromkeys(hook.uses or [f"{hook.target}"], known))


def list_only(monkeypatch: pytest.MonkeyPatch, changed: Hook) -> None:
    hooks = tuple(changed if hook.name == changed.name else hook for hook in HOOKS)
    monkeypatch.setattr(check, "HOOKS", hooks)


def named(name: str) -> Hook:
    return next(hook for hook in HOOKS if hook.name == name)


# -- the list ------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [*HOOKS, *_dagster.HOOKS], ids=lambda hook: hook.name)
def test_the_installed_versions_are_those_that_the_list_was_tested_with(hook: Hook) -> None:
    assert differences_of_hook(hook) == ()


# -- a difference --------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_a_difference_is_an_error_or_a_warning_as_the_list_says(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_only(monkeypatch, differing(hook))
    warnings: list[str] = []
    if hook.on_difference == "error":
        with pytest.raises(RunError, match=f"{hook.lost}.*{UNTESTED_VARIABLE}"):
            check.check_hooks(hook.destination, "one", warnings.append)
        monkeypatch.setenv(UNTESTED_VARIABLE, "1")
    check.check_hooks(hook.destination, "one", warnings.append)
    [warning] = warnings
    assert hook.lost in warning


def test_a_run_begins_with_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_only(monkeypatch, differing(named("load")))
    with pytest.raises(RunError, match=r"load 'one': dlt .* was not tested with loadsmith"):
        run(load_of(tmp_path, {"id": 1}))
    assert not (tmp_path / "one.duckdb").exists()


def test_a_normalizer_that_is_off_is_said_in_the_run_and_in_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = load_of(tmp_path, {"id": 1})
    [before] = [one for one in effective_settings(definition) if one.name == "normalizer"]
    assert before == Setting("normalizer", "arrow", "loadsmith")
    list_only(monkeypatch, differing(named("records by column")))

    settings = effective_settings(definition)
    [normalizer] = [one for one in settings if one.name == "normalizer"]
    assert normalizer.value.startswith("dlt (")
    assert "several times slower" in settings[-1].value
    assert settings[-1].value in run(definition)


# -- a hook that dlt no longer calls -------------------------------------------------


def test_a_load_that_asks_for_no_claim_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadsmith.engine.dlt_hooks.fence._fenced_client", lambda client: client)
    with pytest.raises(RunError, match=r"did not call .* may load rows twice"):
        run(load_of(tmp_path, {"id": 1}))


@pytest.mark.parametrize(
    ("ours", "method", "theirs"),
    [
        (LoadsmithPipeline, "_extract_source", dlt.Pipeline),
        (WatchedExtract, "_handle_empty_tables", Extract),
    ],
)
def test_an_extract_that_is_not_prepared_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Any, method: str, theirs: Any
) -> None:
    monkeypatch.setattr(ours, method, vars(theirs)[method])
    with pytest.raises(RunError, match=r"did not call .* on_empty may not hold"):
        run(load_of(tmp_path, {"id": 1}))


def test_an_extract_that_does_not_ask_for_load_ids_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dlt.extract.extractors as extractors
    from dlt.normalize.configuration import ItemsNormalizerConfiguration

    monkeypatch.setattr(
        extractors, "resolve_configuration", lambda *_, **__: ItemsNormalizerConfiguration()
    )
    with pytest.raises(RunError, match=r"did not call .* could not be undone"):
        run(load_of(tmp_path, pyarrow.table({"id": [1]})))


def test_a_window_that_is_not_compared_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_make_or_get_transformer"
    monkeypatch.setattr(WindowIncremental, name, vars(Incremental)[name])
    definition = load_of(tmp_path, {"at": "2024-01-01"}, incremental=dlt.sources.incremental("at"))
    start = datetime(2024, 1, 1, tzinfo=timezone.utc)
    window = Window(start=start, end=start + timedelta(days=1))
    with pytest.raises(RunError, match=r"did not call .* may load rows of another window"):
        run(definition, window=window)


def test_an_extract_that_does_not_add_load_ids_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlt.common.libs.pyarrow.add_dlt_load_id_column", lambda page, *_: page)
    with pytest.raises(RunError, match=r"did not call .* could not be undone"):
        run(load_of(tmp_path, pyarrow.table({"id": [1]})))


def test_load_ids_that_the_user_turns_off_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "false")
    run(load_of(tmp_path, pyarrow.table({"id": [1]})))


def test_rows_that_are_compared_without_their_zone_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_adapt_timezone"
    monkeypatch.setattr(window_pages._Zoned, name, vars(IncrementalTransform)[name])
    start = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5)))
    definition = load_of(
        tmp_path, {"at": datetime(2024, 1, 1, 9)}, incremental=dlt.sources.incremental("at")
    )
    with pytest.raises(RunError, match=r"did not call .* may load rows of another window"):
        run(definition, window=Window(start=start, end=start + timedelta(days=1)))


@pytest.mark.parametrize(
    ("module", "lost"),
    [
        ("resolve", "Secrets may be shown in logs and errors"),
        ("accessors", "Secrets that a source asks for may be shown"),
    ],
)
def test_a_dlt_that_does_not_tell_of_secrets_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, lost: str
) -> None:
    if module == "resolve":
        monkeypatch.setattr("dlt.common.configuration.resolve.log_traces", lambda *_: None)
    else:
        monkeypatch.setattr(type(dlt.secrets), "get", lambda *_: None)
    with pytest.raises(RunError, match=f"did not call .* {lost}"):
        run(load_of(tmp_path, {"id": 1}))


def test_a_dlt_that_does_not_ask_for_traces_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["dlt.pipeline.pipeline"]
    monkeypatch.setattr(module, "end_trace_step", lambda trace, *_: trace)
    with pytest.raises(RunError, match=r"did not call .* stored in the traces of dlt"):
        run(load_of(tmp_path, {"id": 1}))


def test_a_step_that_cannot_be_redacted_is_not_stored(tmp_path: Path) -> None:
    def redact(_value: Any) -> Any:
        raise ValueError("cannot")

    def rows() -> Any:
        yield {"id": 1}
        raise OSError("no entry for hunter2-hunter2")

    pipeline = dlt.pipeline("one", pipelines_dir=str(tmp_path), destination="duckdb")
    warnings: list[str] = []
    with redacted_traces(redact, warnings.append), pytest.raises(PipelineStepFailed):
        pipeline.extract(rows(), table_name="things")
    assert b"hunter2" not in (tmp_path / "one" / "trace.pickle").read_bytes()
    [step] = pipeline.last_trace.steps
    assert (step.step, step.step_exception, step.exception_traces) == ("extract", None, None)
    [warning] = warnings
    assert "secrets could not be taken out of them (ValueError)" in warning


# -- what is left behind --------------------------------------------------------------


def test_a_load_leaves_no_provider_of_settings(tmp_path: Path) -> None:
    before = list(providers())
    run(load_of(tmp_path, pyarrow.table({"id": [1]})))
    assert list(providers()) == before
