"""The page `docs/tasks.md`: its blocks are a project, which is built and run here."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for title, text in BLOCK.findall(PAGE):
        path = tmp_path / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        del sys.modules[name]


def test_the_project_of_the_page_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = importlib.import_module("my_project.definitions").defs
    monkeypatch.setenv("REPORT_TO", "ada@example.com")
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance
        )
    metadata = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert (project / "report.txt").read_text() == f"Run {result.run_id}\nfor ada@example.com\n"
    assert "| 2 | ada@example.com |" in str(metadata["report_length"]["preview"].value)
    assert (project / "second.txt").exists()
