"""The page `docs/component.md`: its blocks are a project, which is built and run here."""

import re
from pathlib import Path

import pytest

from loadsmith.component.discovery import UnknownTables
from loadsmith.component.models import LoadEntry

PAGE = (Path(__file__).parents[2] / "docs" / "component.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE)]


@pytest.fixture
def page(project, api, monkeypatch):
    """The page's project; its package has the name that the test's project has."""
    for language, title, text in BLOCKS:
        if title and language in ("yaml", "python"):
            text = text.replace("https://api.github.com/repos/dagster-io/dagster/", api.url)
            project.write(title.removeprefix("src/shop/defs/"), text)
    monkeypatch.setenv("GITHUB_API_URL", api.url.rstrip("/"))
    monkeypatch.setenv("GITHUB_TOKEN", api.token)
    return project


def test_the_project_of_the_page_has_the_assets_that_it_tells_of(page):
    with pytest.warns(UnknownTables, match="sql_database"):
        keys = page.asset_keys()

    assert keys == {
        "github_data/issues",
        "github_data/pull_requests",
        "tracker_data/labels",
        "tracker_data/comments",
        "stock/items",
        "visits_data/visits",
        "letters_data/letters",
    }
    assert "`github_data/issues`" in PAGE
    assert "`github_data/pull_requests`" in PAGE


@pytest.mark.filterwarnings("ignore::loadsmith.component.discovery.UnknownTables")
def test_the_loads_of_the_page_run(page):
    result = page.materialize("github_data/issues", "tracker_data/labels", "letters_data/letters")

    assert result.success
    assert page.rows("github.duckdb", "select count(*) from github_data.issues") == [(2,)]
    assert page.rows("tracker.duckdb", "select count(*) from tracker_data.labels") == [(2,)]
    assert page.rows("letters.duckdb", "select letter from letters_data.letters") == [("a",)]


def test_the_error_on_the_page_is_the_one_that_is_shown(page):
    file = page.defs / "dlt_ingest" / "defs.yaml"
    file.write_text(file.read_text().replace("github_load_source", "github_load_sauce"))
    (quoted,) = [text.strip() for _, title, text in BLOCKS if title == "error"]

    assert quoted in page.failure()


def test_every_field_of_a_load_is_on_the_page():
    assert [name for name in LoadEntry.model_fields if f"`{name}`" not in PAGE] == []


def test_every_block_of_yaml_and_python_is_a_file():
    code = [
        text for language, title, text in BLOCKS if not title and language not in ("text", "sh")
    ]
    assert code == []
