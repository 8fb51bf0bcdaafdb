"""The page `docs/factory.md`: its blocks are a package, which is imported and run here."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import ConfigurableDltResource
from loadsmith.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "factory.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = {title: text for _, title, text in BLOCK.findall(PAGE)}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for title, text in BLOCKS.items():
        if title != "error":
            path = tmp_path / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"shop.{name}")


def rows(database: str, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(database, read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.usefixtures("package")
def test_the_definitions_of_the_page_run() -> None:
    definitions = module("definitions").defs
    specs = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert specs == {
        "crm/raw/customers",
        "crm/src/customers",
        "crm/raw/orders",
        "crm/src/orders",
    }
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
    assert rows("shop.duckdb", "select name from crm.customers order by id") == [
        ("Ada",),
        ("Grace",),
    ]


@pytest.mark.usefixtures("package")
def test_the_translator_of_the_page_groups() -> None:
    definitions = module("translated").defs
    groups = {
        spec.key.to_user_string(): spec.group_name for spec in definitions.resolve_all_asset_specs()
    }
    assert groups["crm/raw/orders"] == "ingestion"


@pytest.mark.usefixtures("package")
def test_the_job_of_the_collections_of_the_page_runs() -> None:
    job = module("collections").defs.resolve_job_def("store_assets")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    assert rows("warehouse.duckdb", "select count(*) from store.orders") == [(1,)]


def test_the_error_of_the_page_is_quoted_word_for_word() -> None:
    with pytest.raises(ConfigError) as caught:
        ConfigurableDltResource.config(
            dlt.resource([{"id": 1}], name="crm.orders"), meta={"dagster": {"owner": "me"}}
        )
    assert str(caught.value) == BLOCKS["error"].strip()
