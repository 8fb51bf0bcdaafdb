"""The tutorial and the how-to pages: each is walked through from top to bottom."""

import re

import dagster as dg
import pytest
from dagster_graphql.schema.backfill import GrapheneBackfillPolicy

from loadsmith import build_definitions


@pytest.mark.parametrize(
    "page",
    [
        "tutorial.md",
        "installation.md",
        "incremental.md",
        "cli.md",
        "how-to/alerts.md",
        "how-to/bigquery.md",
        "how-to/dbt.md",
        "how-to/deploy.md",
        "how-to/deployments.md",
        "how-to/editor.md",
        "how-to/files.md",
        "how-to/freshness.md",
        "how-to/from-dagster-odp.md",
        "how-to/from-dlt-init.md",
        "how-to/many-tables.md",
        "how-to/partitions.md",
        pytest.param("how-to/postgres.md", marks=pytest.mark.postgres),
        "how-to/scaling-out.md",
        "how-to/rest-apis.md",
        "how-to/schema-changes.md",
        "how-to/secrets.md",
        "how-to/see-rows.md",
        "how-to/snowflake.md",
        pytest.param("how-to/sql-databases.md", marks=pytest.mark.postgres),
        "how-to/testing.md",
        "explanation/nouns.md",
        "reliability.md",
    ],
)
def test_a_page_works_from_top_to_bottom(walk, page):
    walk(page)


def test_the_tutorial_says_of_a_backfill_what_dagsters_dialog_says(tmp_path, tutorial):
    page, blocks = tutorial
    for block in blocks:
        if block.language == "yaml":
            path = tmp_path / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            # The schema file is what a command of the page writes.
            path.write_text(re.sub(r" *schema_file_path: .*\n", "", block.text))
    (tmp_path / "odp_config" / "workflows" / "report.yaml").unlink()
    when = tmp_path / "odp_config" / "workflows" / "when.yaml"
    when.write_text(when.read_text().replace(", shop/orders__items", ""))
    (tmp_path / "dlt_project").mkdir()

    def said(max_partitions_per_run):
        orders = tmp_path / "odp_config" / "workflows" / "orders.yaml"
        text = orders.read_text()
        if max_partitions_per_run:
            text += f"    max_partitions_per_run: {max_partitions_per_run}\n"
        orders.write_text(text)
        graph = build_definitions(tmp_path / "odp_config").resolve_asset_graph()
        policy = graph.get(dg.AssetKey(["shop", "orders"])).backfill_policy
        return GrapheneBackfillPolicy(policy).resolve_description(None)

    assert f'"{said(None)}"' in page
    assert "maximum of 1 partitions per run" in said(1)
