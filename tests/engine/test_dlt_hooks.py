"""What loadsmith replaces in dlt: the list knows all of it, and nothing of it fails silently."""

import ast
import importlib
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pyarrow
import pytest
from dlt.extract.extract import Extract
from dlt.extract.incremental import Incremental

from loadsmith.assets import _dagster
from loadsmith.engine.dlt_hooks import HOOKS, WindowIncremental, check
from loadsmith.engine.dlt_hooks.extract import WatchedExtract
from loadsmith.engine.dlt_hooks.fingerprint import fingerprint_of
from loadsmith.engine.dlt_hooks.pipeline import LoadsmithPipeline
from loadsmith.engine.dlt_hooks.register import UNTESTED_VARIABLE, Hook, differences_of_hook
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

SOURCE = Path(__file__).parents[2] / "src" / "loadsmith"

#: The names of dlt that are replaced for the whole process: each line that does so, by module.
REPLACEMENTS = {
    "engine/dlt_hooks/records.py": {
        "worker.__dict__['JsonLItemsNormalizer']",
        "pool_runner.create_pool",
    },
    "engine/dlt_hooks/resolved.py": {"TraceLogContext.log", "type(dlt.secrets)._get_value"},
    "engine/dlt_hooks/trace.py": {"dlt_trace.TRACKING_MODULES"},
    "engine/dlt_hooks/whole.py": {"normalize.__dict__['LoadStorage']"},
}

pipeline_module: Any = importlib.import_module("dlt.pipeline.pipeline")


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
    return replace(hook, uses=dict.fromkeys(hook.uses, known))


def list_only(monkeypatch: pytest.MonkeyPatch, changed: Hook) -> None:
    hooks = tuple(changed if hook.name == changed.name else hook for hook in HOOKS)
    monkeypatch.setattr(check, "HOOKS", hooks)


def named(name: str) -> Hook:
    return next(hook for hook in HOOKS if hook.name == name)


# -- the list ------------------------------------------------------------------------


def imported_from_dlt(tree: ast.AST) -> set[str]:
    names = {"dlt", "_module"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "dlt":
            names |= {one.asname or one.name for one in node.names}
    return names


def replaced_in(tree: ast.AST) -> set[str]:
    """Return the attributes of modules and classes of dlt that a module sets."""
    names = imported_from_dlt(tree)
    targets = [
        target
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute | ast.Subscript)
    ]
    texts = {ast.unparse(target) for target in targets}
    roots = {text: re.sub(r"^type\((.*)\)", r"\1", text).partition(".")[0] for text in texts}
    return {text for text, root in roots.items() if root in names}


def test_the_list_has_each_name_of_dlt_that_is_replaced_for_the_process() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): replaced
        for path in SOURCE.rglob("*.py")
        if (replaced := replaced_in(ast.parse(path.read_text("utf-8"))))
    }
    assert found == REPLACEMENTS
    listed = {hook.target.rpartition(":")[2] for hook in HOOKS if hook.kind == "process"}
    texts = [text for replaced in found.values() for text in replaced]
    assert len(texts) == len(listed) <= 8
    assert {re.split(r"[.']", text.rstrip("']"))[-1] for text in texts} == {
        name.rpartition(".")[2] for name in listed
    }


@pytest.mark.parametrize("hook", [*HOOKS, *_dagster.HOOKS], ids=lambda hook: hook.name)
def test_the_installed_versions_are_those_that_the_list_was_tested_with(hook: Hook) -> None:
    assert differences_of_hook(hook) == ()


def test_a_fingerprint_is_of_the_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "printed"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text(
        'class A:\n    @property\n    def f(self):\n        """Say."""\n'
        '        return "# a"  # why\n'
    )
    (package / "same.py").write_text(
        'class A:\n    x = 1\n\n    @property\n    def f( self ):\n\n        return "# a"\n'
    )
    (package / "other.py").write_text("class A:\n    def f(self):\n        return '# a'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    one = fingerprint_of("printed.one:A.f")
    assert one is not None
    assert fingerprint_of("printed.same:A.f") == one
    assert fingerprint_of("printed.other:A.f") != one
    assert fingerprint_of("printed.other:A.g") is None
    assert fingerprint_of("printed.absent:A.f") is None


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


def test_a_missing_function_is_an_error_also_where_differences_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(UNTESTED_VARIABLE, "1")
    hook = replace(named("load"), uses={"dlt.load.load:Load.surely_not_there": "another"})
    list_only(monkeypatch, hook)
    with pytest.raises(RunError, match="is missing"):
        check.check_hooks(None, "one", list[str]().append)


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
