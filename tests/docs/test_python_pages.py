"""The pages of the Python doors: each is walked through, and what it says of assets is there."""

import re
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from loadsmith.testing.watching import load_definitions

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import modules from the folder of a walk, and forget them afterwards."""
    before = set(sys.modules)

    def go(folder: Path) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        own = {path.stem for path in folder.iterdir()}
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            # Another page, or another test, has a module of that name.
            monkeypatch.delitem(sys.modules, name)

    yield go
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "/project/" in file and "site-packages" not in file:
            del sys.modules[name]


def keys_in(page: str, heading: str) -> list[str]:
    """Return the first cells of the table with that first heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_page_of_the_decorator(walk: Any, at: Any) -> None:
    folder = walk("dlt-assets.md").folder
    at(folder)
    graph = load_definitions("definitions:defs").resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert keys == set(keys_in("dlt-assets.md", "asset"))
    assert rows(folder / "data.duckdb", "SELECT count(*) FROM web.orders") == [(3,)]

    import fresh
    import in_an_op
    import partitioned
    import translated
    import upstream

    assert dg.AssetKey(["warehouse", "web", "users"]) in translated.translated.keys
    assert {spec.key.to_user_string() for spec in upstream.sources} >= {"shop_orders"}
    checks = {key.to_user_string() for key in fresh.defs.resolve_asset_graph().asset_check_keys}
    assert checks >= {"dlt_shop_orders:freshness_check", "dlt_shop_users:freshness_check"}
    assert [sensor.name for sensor in fresh.defs.sensors] == ["fresh_assets_freshness"]
    config = {"ops": {"load_shop": {"config": {"limit": 1, "write_disposition": "replace"}}}}
    in_an_op.nightly.execute_in_process(run_config=config)
    assert rows(folder / "data.duckdb", "SELECT id FROM web.orders") == [(1,)]
    with dg.DagsterInstance.ephemeral() as instance:
        for assets, key in ((partitioned.daily, "2024-01-03"), (partitioned.by_hand, "users")):
            dg.materialize(
                [assets],
                partition_key=key,
                instance=instance,
                resources={"dlt": load_definitions("definitions:defs").resources["dlt"]},
            )
    assert rows(folder / "data.duckdb", "SELECT id FROM web.orders ORDER BY id") == [(1,), (3,)]


def test_the_page_of_the_resource(walk: Any, at: Any) -> None:
    folder = walk("dlt-pipeline.md").folder
    at(folder)
    assert rows(folder / "issues.duckdb", "SELECT login FROM github.issues__assignees") == [
        ("ada",)
    ]
    definitions = load_definitions("collections_of_films:defs")
    graph = definitions.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert keys == set(keys_in("dlt-pipeline.md", "asset"))
    definitions.resolve_job_def("sample_mflix_assets").execute_in_process()
    found = rows(folder / "films.duckdb", 'SELECT "from" FROM documents.embedded_movies')
    assert found == [("sample_mflix.embedded_movies",)]
    tables = rows(folder / "films.duckdb", "SELECT table_name FROM information_schema.tables")
    assert ("orders",) not in tables


def test_the_page_for_those_who_come_from_dagster_dlt(walk: Any) -> None:
    folder = walk("from-dagster-dlt.md").folder
    assert rows(folder / "shop_data.duckdb", "SELECT total FROM web.orders") == [(5,)]


def test_the_links_between_the_pages_lead_somewhere() -> None:
    for page in ("dlt-assets.md", "dlt-pipeline.md", "from-dagster-dlt.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for target, _, anchor in (
            link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text)
        ):
            headings = re.findall(r"^#+ (.+)$", (DOCS / target).read_text("utf-8"), re.MULTILINE)
            anchors = {
                re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings
            }
            assert not anchor or anchor in anchors, f"{page}: {target}#{anchor}"
