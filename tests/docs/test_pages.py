"""The tutorial and the how-to pages: each is walked through from top to bottom."""

import pytest


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
