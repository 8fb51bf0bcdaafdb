"""The dbt project: its models hang from the tables that they read, and run after them."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dbt"
PAGE = ROOT / "docs" / "how-to" / "dbt.md"

SCRIPT = """
import json

import dagster as dg
import duckdb

from definitions import defs

graph = defs.resolve_asset_graph()
parents = {
    key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
    for key in graph.materializable_asset_keys
}
done = defs.resolve_implicit_global_asset_job_def().execute_in_process()
with duckdb.connect("data/warehouse.duckdb", read_only=True) as connection:
    sold = connection.execute("select sum(sold) from reports.products").fetchone()
    loaded = connection.execute("select sum(quantity) from shop.orders__items").fetchone()
print(json.dumps({"parents": parents, "sold": int(sold[0]), "loaded": int(loaded[0])}))
"""


def test_the_page_shows_the_files_of_the_example() -> None:
    blocks = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.M | re.S)
    files = {name: text for name, text in blocks if "/" in name or name.endswith(".py")}
    assert len(files) == 5
    for name, text in files.items():
        assert (EXAMPLE / name).read_text() == text, name


@pytest.fixture
def in_dbt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a program of the environment of dbt, which the first test makes."""
    subprocess.run(["make", "--silent", ".venv-dbt/.installed"], cwd=ROOT, check=True)
    programs = ROOT / ".venv-dbt" / "bin"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def run(folder: Path, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [programs / program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.long
def test_models_hang_from_single_tables_and_run_after_them(
    copy_example: Callable[[str], Path], in_dbt: Callable[..., str]
) -> None:
    project = copy_example("dbt")
    in_dbt(project, "loadsmith", "dbt-sources", "dbt/models/sources.yml", "--check")
    parsed = in_dbt(project / "dbt", "dbt", "parse")
    assert "deprecat" not in parsed.lower()
    found: dict[str, Any] = json.loads(in_dbt(project, "python", "-c", SCRIPT).splitlines()[-1])
    assert found["parents"] == {
        "shop/customers": ["shop"],
        "shop/orders": ["shop"],
        "shop/orders__items": ["shop/orders"],
        "products": ["shop/orders__items"],
        "best_customers": ["shop/customers", "shop/orders"],
    }
    assert found["sold"] == found["loaded"] > 0
    fresh = in_dbt(project / "dbt", "dbt", "--no-use-colors", "source", "freshness")
    assert fresh.count("PASS freshness of shop.") == 3
