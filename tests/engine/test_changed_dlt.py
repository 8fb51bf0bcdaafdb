"""What loadsmith does with another dlt: a copy of the installed one, in which something differs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import dlt
import pytest

from loadsmith.engine.dlt_hooks import HOOKS
from loadsmith.engine.dlt_hooks.register import UNTESTED_VARIABLE

INSTALLED = Path(dlt.__file__).parent
ROOT = Path(__file__).parents[2]

DIFFERENCES = """
import json
from loadsmith.engine.dlt_hooks.hooks import HOOKS
from loadsmith.engine.dlt_hooks.register import differences_of_hook
found = [(hook.name, one.name, one.actual is None, one.is_error, str(one))
         for hook in HOOKS for one in differences_of_hook(hook)]
print(json.dumps(found))
"""

LOAD = """
import dlt
from loadsmith.engine.run import run_load
from loadsmith.model import DestinationReference, LoadDefinition, PipelineSettings, RunRequest

def source():
    rows = [{"id": 1, "of": [{"a": 1}]}, {"id": 2, "of": []}]
    return dlt.source(lambda: dlt.resource(rows, name="things"), name="one")()

load = LoadDefinition(
    name="one",
    source=source,
    destination=DestinationReference(name="duckdb", params={"database": "one.duckdb"}),
    pipeline=PipelineSettings(pipeline_name="one", dataset_name="raw", pipelines_dir="pipelines"),
)
with run_load(load, RunRequest(run_id="run", warn=print)) as result:
    print(sorted((table.name, table.rows_loaded) for table in result.tables))
"""


def copy_with(folder: Path, changes: Mapping[str, Mapping[str, str]]) -> Path:
    """Make a copy of dlt whose files are links, but for those in which texts are replaced."""
    root = folder / "changed" / "dlt"
    for path, texts in changes.items():
        place = root
        for part in ("", *Path(path).parts[:-1]):
            place = place / part
            if not place.is_dir() or place.is_symlink():
                place.unlink(missing_ok=True)
                place.mkdir(parents=True)
                for original in (INSTALLED / place.relative_to(root)).iterdir():
                    (place / original.name).symlink_to(original)
        text = before = (INSTALLED / path).read_text("utf-8")
        for old, new in texts.items():
            text = (
                re.sub(rf"\b{old}\b", new, text) if old.isidentifier() else text.replace(old, new)
            )
        assert text != before
        (root / path).unlink()
        (root / path).write_text(text, "utf-8")
    return root.parent


def python(copy: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=copy.parent,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(copy), str(ROOT / "src"), str(ROOT))),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def differences(copy: Path, **environment: str) -> list[tuple[str, str, bool, bool, str]]:
    return json.loads(python(copy, "-c", DIFFERENCES, **environment).stdout)


#: Changes of dlt after which a load would give something else, without an error: by file, what is
#: changed, and the hook and the name that have to tell.
QUIET = [
    (
        "extract/incremental/transform.py",
        {"= last_value = self._adapt_timezone(": "= last_value = type(self)._adapt_timezone("},
        ("windows", "JsonIncremental.__call__"),
    ),
    (
        "extract/extractors.py",
        {"self._normalize_config.add_dlt_load_id\n                    and": "False and"},
        ("load ids", "ArrowExtractor._compute_tables"),
    ),
    (
        "common/libs/pyarrow.py",
        {"    # if the column already exists, get rid of it": "    return item"},
        ("load ids", "add_dlt_load_id_column"),
    ),
    (
        "common/configuration/resolve.py",
        {"        log_traces(config, key, hint, value, default_value, traces)": "        pass"},
        ("resolved secrets", "_resolve_config_field"),
    ),
    (
        "common/storages/load_package.py",
        {"failed_message": "failure"},
        ("traces", "LoadJobInfo.failed_message"),
    ),
    (
        "destinations/decorators.py",
        {'"_factory"': '"_made"'},
        ("functions of users", "destination._factory"),
    ),
]


def test_what_would_be_another_result_is_a_difference(tmp_path: Path) -> None:
    changes = {path: texts for path, texts, _ in QUIET}
    found = differences(copy_with(tmp_path, changes))
    assert {hook_and_name for *_, hook_and_name in QUIET} == {
        (hook, name.rpartition(":")[2]) for hook, name, *_ in found
    }
    assert all(is_error for *_, is_error, _ in found)


def test_each_name_that_is_gone_is_a_difference(tmp_path: Path) -> None:
    gone: dict[str, dict[str, str]] = {}
    for hook in HOOKS:
        [name, *_] = [*hook.uses, *hook.reads]
        if hook.uses:
            module, _, path = name.partition(":")
            place = "/".join(module.split(".")[1:])
            is_file = (INSTALLED / f"{place}.py").is_file()
            file = f"{place}.py" if is_file else f"{place}/__init__.py"
            own = path.rpartition(".")[2]
            gone.setdefault(file, {})[f"def {own}("] = f"def {own}_gone("
    found = differences(copy_with(tmp_path, gone), **{UNTESTED_VARIABLE: "1"})
    first = {
        hook: (is_gone, is_error, text) for hook, _, is_gone, is_error, text in reversed(found)
    }
    for hook in HOOKS:
        if hook.uses:
            is_gone, is_error, text = first[hook.name]
            assert is_gone
            assert is_error == (hook.on_difference == "error")
            assert "is not there. " + hook.lost in text


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("pipeline/abort.py", "prepare_abort_packages"),
        ("common/configuration/accessors.py", "_get_value"),
    ],
)
def test_a_name_that_an_import_needs_is_told_with_what_to_do(
    tmp_path: Path, file: str, name: str
) -> None:
    changes = {file: {name: f"{name}_gone"}}
    if name == "prepare_abort_packages":
        changes["pipeline/pipeline.py"] = changes[file]
    done = python(copy_with(tmp_path, changes), "-c", LOAD)
    *_, last = done.stderr.splitlines()
    assert re.search(rf"RunError: dlt .* `.*{name}` is not there\. .*\. Install dlt ", last)


def test_without_a_name_that_is_needed_by_column_dlt_normalizes(tmp_path: Path) -> None:
    name = "custom_pua_decode"
    copy = copy_with(tmp_path, {"common/json/__init__.py": {name: f"{name}_gone"}})
    done = python(copy, "-c", LOAD)
    [warning, tables] = done.stdout.splitlines()
    assert f":{name}` is not there. Records are normalized by dlt itself" in warning
    assert tables == "[('things', 2), ('things__of', 1)]"

    checked = python(copy, "-m", "bench.dlt_check", "--examples", "1")
    assert "ABSENT     dlt.common.json:custom_pua_decode" in checked.stdout
    *_, last = checked.stdout.splitlines()
    assert last.startswith(f"Records cannot be compared: ImportError: cannot import name '{name}'")
    assert checked.stderr == ""
