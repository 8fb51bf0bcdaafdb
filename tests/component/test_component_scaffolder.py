"""`dg scaffold defs`: files that load and run as they are."""

import click
import dagster as dg
import pytest

from loadsmith.component.scaffold import DltLoadCollectionScaffolder
from loadsmith.component.scaffold.scaffolder import DltScaffolderParams


def _scaffold(project, folder="dlt_ingest", style="yaml", **params):
    target = project.defs / folder
    DltLoadCollectionScaffolder().scaffold(
        dg.ScaffoldRequest(
            type_name="loadsmith.DltLoadCollectionComponent",
            target_path=target,
            scaffold_format=style,
            project_root=project.root,
            params=DltScaffolderParams(**params),
        )
    )
    return target


@pytest.mark.parametrize("style", ["yaml", "python"])
def test_what_is_written_runs_as_it_is(project, style):
    _scaffold(project, style=style)

    assert project.asset_keys() == {"dlt_ingest_data/greetings"}
    assert project.materialize().success
    rows = project.rows("dlt_ingest.duckdb", "select count(*) from dlt_ingest_data.greetings")
    assert rows == [(2,)]


@pytest.mark.filterwarnings("ignore::loadsmith.component.discovery.UnknownTables")
@pytest.mark.parametrize("source", ["rest_api", "sql_database", "filesystem"])
def test_a_core_source_keeps_what_a_user_needs_of_dlt_init(project, source, monkeypatch):
    # A name server that is none: whoever asks the network fails.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = _scaffold(project, source=source, destination="postgres")

    files = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert files == {"defs.yaml", f"{source}_pipeline.py", "requirements.txt", ".env.example"}
    assert "destination='postgres'" in (folder / f"{source}_pipeline.py").read_text()
    assert (folder / "requirements.txt").read_text().startswith("dlt[")
    secrets = (folder / ".env.example").read_text()
    assert "\nDESTINATION__POSTGRES__CREDENTIALS__PASSWORD=\n" in secrets
    assert "<configure me>" not in secrets
    project.definitions()


def test_rest_api_is_declared_with_assets_at_once(project):
    _scaffold(project, source="rest_api")

    assert project.asset_keys() == {
        "dlt_ingest_data/pokemon",
        "dlt_ingest_data/berry",
        "dlt_ingest_data/location",
    }


def test_names_of_folders_that_are_no_identifiers_do_no_harm(project):
    _scaffold(project, folder="2024-shop")

    assert project.asset_keys() == {"load_2024_shop_data/greetings"}


def test_a_file_that_is_there_is_not_written_over(project):
    folder = project.defs / "dlt_ingest"
    folder.mkdir()
    (folder / "loads.py").write_text("mine = True\n")

    with pytest.raises(click.ClickException, match=r"loads\.py: the file is there already"):
        _scaffold(project)
    assert (folder / "loads.py").read_text() == "mine = True\n"


def test_a_destination_that_dlt_does_not_have_is_said_and_nothing_is_written(project):
    with pytest.raises(click.ClickException, match="dlt init rest_api dukdb: Destination"):
        _scaffold(project, source="rest_api", destination="dukdb")
    assert list((project.defs / "dlt_ingest").iterdir()) == []


def test_options_of_the_command_have_descriptions():
    schema = DltScaffolderParams.model_json_schema()

    assert all(field["description"] for field in schema["properties"].values())
