"""A load that `defs.yaml` describes wholly: no Python, and secrets only by name."""

import json
import textwrap

import dagster as dg
import pytest

HEAD = "type: loadsmith.DltLoadCollectionComponent\n\nattributes:\n"

REST_API = """
  loads:
    - source_module: rest_api
      source_params:
        client:
          base_url: {url}
          auth:
            type: bearer
            token: "{{{{ env.SHOP_API_TOKEN }}}}"
          paginator: single_page
        resource_defaults:
          primary_key: id
          write_disposition: merge
        resources: [orders, customers, drafts]
      exclude: [dra*]
      destination: duckdb
      destination_params:
        database: shop.duckdb
      pipeline_params:
        pipeline_name: shop
        dataset_name: shop_data
"""


@pytest.fixture
def rest_api(project, api):
    project.write("ingest/defs.yaml", HEAD + REST_API.format(url=api.url))
    return project


def test_a_rest_api_is_defined_without_asking_it_and_without_its_secret(rest_api, api):
    assert rest_api.asset_keys() == {"shop_data/orders", "shop_data/customers"}
    assert api.asked == []


def test_a_rest_api_is_loaded_with_a_secret_that_only_the_run_knows(rest_api, api, monkeypatch):
    definitions = rest_api.definitions()
    monkeypatch.setenv("SHOP_API_TOKEN", api.token)

    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process()

    assert result.success
    assert rest_api.rows("shop.duckdb", "select name from shop_data.orders order by id") == [
        ("orders one",),
        ("orders two",),
    ]


def test_the_secret_is_nowhere_in_what_dagster_keeps(rest_api, api, monkeypatch):
    monkeypatch.setenv("SHOP_API_TOKEN", api.token)
    definitions = rest_api.definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance)
        kept = [repr(event) for event in instance.all_logs(result.run_id)]
    specs = [repr(spec) for spec in definitions.resolve_all_asset_specs()]

    assert not [text for text in (*kept, *specs) if api.token in text]


def test_a_secret_that_is_not_there_is_named_in_the_run(rest_api, monkeypatch):
    monkeypatch.delenv("SHOP_API_TOKEN", raising=False)

    result = rest_api.materialize("shop_data/orders", raise_on_error=False)

    assert not result.success
    texts = [str(event.event_specific_data.error) for event in result.get_step_failure_events()]
    assert "SHOP_API_TOKEN" in texts[0]


def test_a_folder_of_files_is_loaded_from_beside_the_project(project):
    (project.root / "data").mkdir()
    (project.root / "data" / "a.csv").write_text("id,name\n1,one\n2,two\n")
    project.write(
        "files/defs.yaml",
        HEAD
        + """
  loads:
    - source_module: filesystem.readers
      source_params:
        bucket_url: "{{ context.project_root }}/data"
        file_glob: "*.csv"
      resources: [read_csv]
      destination: duckdb
      destination_params: {database: files.duckdb}
      pipeline_params: {pipeline_name: files, dataset_name: files_data}
""",
    )

    assert project.asset_keys() == {"files_data/read_csv"}
    assert project.materialize().success
    assert project.rows("files.duckdb", "select count(*) from files_data.read_csv") == [(2,)]


def test_a_source_of_ones_own_is_declared_by_its_path_from_the_folder(project):
    project.write(
        "ingest/github.py",
        """
        import dlt

        @dlt.source
        def github(repo):
            @dlt.resource
            def issues():
                yield {"id": 1, "repo": repo}

            return issues
        """,
    )
    project.write(
        "ingest/defs.yaml",
        HEAD
        + """
  loads:
    - source_module: .github.github
      source_params: {repo: loadsmith}
      destination: duckdb
      destination_params: {database: github.duckdb}
""",
    )

    assert project.asset_keys() == {"ingest_github_dataset/issues"}
    assert project.materialize().success
    assert project.rows("github.duckdb", "select repo from ingest_github_dataset.issues") == [
        ("loadsmith",)
    ]


def test_a_destination_may_be_declared_for_a_source_in_python(shop):
    shop.write(
        "ingest/defs.yaml",
        HEAD
        + """
  loads:
    - source: .loads.shop
      destination: duckdb
      destination_params: {database: declared.duckdb}
      pipeline_params: {pipeline_name: declared, dataset_name: declared_data}
""",
    )

    assert shop.asset_keys() == {"declared_data/orders", "declared_data/customers"}
    assert shop.materialize().success
    assert shop.rows("declared.duckdb", "select count(*) from declared_data.orders") == [(2,)]


def test_a_declared_source_may_go_into_a_pipeline_in_python(shop, api, monkeypatch):
    shop.write(
        "ingest/defs.yaml",
        HEAD
        + f"""
  loads:
    - source_module: rest_api
      source_params:
        client:
          base_url: {api.url}
          auth: {{type: bearer, token: "{{{{ env.SHOP_API_TOKEN }}}}"}}
          paginator: single_page
        resources: [invoices]
      pipeline: .loads.shop_pipeline
""",
    )
    monkeypatch.setenv("SHOP_API_TOKEN", api.token)

    assert shop.asset_keys() == {"shop_data/invoices"}
    assert shop.materialize().success
    assert shop.rows("shop.duckdb", "select count(*) from shop_data.invoices") == [(2,)]


def test_defaults_hold_for_every_load(project, api):
    project.write(
        "ingest/defs.yaml",
        HEAD
        + f"""
  defaults:
    destination: duckdb
    group_name: api
    source_params:
      client: {{base_url: {api.url}}}
  loads:
    - source_module: rest_api
      name: first
      source_params: {{resources: [orders]}}
    - source_module: rest_api
      name: second
      source_params: {{resources: [orders]}}
      group_name: other
""",
    )

    groups = {
        spec.key.to_user_string(): spec.group_name
        for spec in project.definitions().resolve_all_asset_specs()
    }
    assert groups["first_dataset/orders"] == "api"
    assert groups["second_dataset/orders"] == "other"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("destination: duckdb", "nothing says what is loaded"),
        ("source_module: rest_api", "nothing says where it goes"),
    ],
)
def test_a_load_without_a_source_or_a_destination_says_so_with_its_place(project, entry, said):
    project.write("ingest/defs.yaml", f"{HEAD}  loads:\n    - {entry}\n")

    text = project.failure()
    assert said in text
    assert "defs.yaml:5:" in text


def test_the_profile_of_the_deployment_chooses_the_destination(project, api, monkeypatch):
    project.write(
        "ingest/defs.yaml",
        HEAD
        + f"""
  profiles:
    dev:
      destination: duckdb
      destination_params: {{database: dev.duckdb}}
    prod:
      destination: duckdb
      destination_params: {{database: prod.duckdb}}
  loads:
    - source_module: rest_api
      source_params:
        client:
          base_url: {api.url}
          auth: {{type: bearer, token: "{{{{ env.SHOP_API_TOKEN }}}}"}}
          paginator: single_page
        resources: [orders]
      pipeline_params: {{pipeline_name: shop, dataset_name: shop_data}}
""",
    )
    monkeypatch.setenv("SHOP_API_TOKEN", api.token)

    monkeypatch.setenv("LOADSMITH_PROFILE", "prod")
    assert project.materialize("shop_data/orders").success
    assert (project.root / "prod.duckdb").exists()
    assert not (project.root / "dev.duckdb").exists()

    monkeypatch.delenv("LOADSMITH_PROFILE")
    assert project.materialize("shop_data/orders").success
    assert (project.root / "dev.duckdb").exists()


@pytest.mark.parametrize("profiles", ["", "  profiles: {prod: {}, branch: {}}\n"])
def test_a_branch_never_writes_into_the_dataset_of_production(shop, monkeypatch, profiles):
    loads = "  loads:\n    - source: .loads.shop\n      pipeline: .loads.make_pipeline\n"
    shop.write("ingest/defs.yaml", HEAD + profiles + loads)
    monkeypatch.setenv("DAGSTER_CLOUD_DEPLOYMENT_NAME", "fix-orders")
    monkeypatch.setenv("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT", "1")

    # The asset stays the same one, so that a branch can be compared with production.
    assert shop.materialize("shop_data/orders").success
    (file,) = shop.root.glob("*.duckdb")
    schemas = shop.rows(file.name, "select schema_name from information_schema.schemata")
    assert ("shop_data_fix_orders",) in schemas
    assert ("shop_data",) not in schemas


@pytest.mark.parametrize("written", ["{{ env.TOKEN }}", "{{env.TOKEN}}", "{{ env('TOKEN') }}"])
def test_the_environment_is_named_as_dagster_names_it(project, api, monkeypatch, written):
    project.write(
        "ingest/defs.yaml",
        HEAD
        + f"""
  loads:
    - source_module: rest_api
      source_params:
        client:
          base_url: "{api.url}"
          auth: {{type: bearer, token: "{written}"}}
          paginator: single_page
        resources: [orders]
      destination: duckdb
""",
    )
    definitions = project.definitions()
    monkeypatch.setenv("TOKEN", api.token)

    assert definitions.resolve_implicit_global_asset_job_def().execute_in_process().success


def test_a_default_of_a_secret_is_refused_with_its_line(project):
    project.write(
        "ingest/defs.yaml",
        HEAD
        + """
  loads:
    - source_module: rest_api
      source_params: {client: {base_url: "{{ env('URL', 'x') }}"}, resources: [orders]}
      destination: duckdb
""",
    )

    text = project.failure()
    assert "write '{{ env.URL }}'" in text
    assert "defs.yaml:7" in text


def test_a_schema_file_tells_the_tables_without_a_source(project, tmp_path):
    import dlt

    pipeline = dlt.pipeline("made", destination="duckdb", dataset_name="made_data")
    pipeline.extract([{"id": 1, "items": [{"n": 1}]}], table_name="orders")
    pipeline.normalize()
    project.write("ingest/made.schema.yaml", pipeline.default_schema.to_pretty_yaml())
    project.write(
        "ingest/defs.yaml",
        HEAD
        + """
  loads:
    - source_module: no_such_module_at_all.source
      schema_file_path: made.schema.yaml
      nested_tables: true
      destination: duckdb
      pipeline_params: {dataset_name: ds}
""",
    )

    assert project.asset_keys() == {"ds/orders", "ds/orders__items"}


def test_a_value_of_the_project_is_rendered_when_the_component_loads(project):
    project.write(
        "ingest/defs.yaml",
        HEAD
        + textwrap.indent(
            textwrap.dedent(
                """
                loads:
                  - source_module: rest_api
                    source_params:
                      client: {base_url: "https://example.invalid/"}
                      resources: [orders]
                    destination: duckdb
                    group_name: "{{ env.TEAM }}"
                    pipeline_params: {dataset_name: "{{ env('DATASET', 'fallback') }}"}
                """
            ),
            "  ",
        ),
    )

    (spec,) = [s for s in project.definitions().resolve_all_asset_specs() if "orders" in s.key.path]
    assert spec.key.to_user_string() == "fallback/orders"


def test_json_of_a_definition_holds_the_name_of_the_secret_alone(rest_api, api, monkeypatch):
    monkeypatch.setenv("SHOP_API_TOKEN", api.token)
    component = rest_api.tree().load_component("ingest")

    (load,) = component.resolved_loads
    text = json.dumps(load.definition.source.params)
    assert "{{ env.SHOP_API_TOKEN }}" in text
    assert api.token not in text


def test_a_resource_that_the_source_does_not_have_is_a_mistake_and_not_left_out(project, api):
    text = REST_API.format(url=api.url).replace("exclude: [dra*]", "resources: [orders, custmers]")
    project.write("ingest/defs.yaml", HEAD + text)

    assert "no resource 'custmers'. Did you mean 'customers'?" in project.failure()


def test_files_go_into_the_table_that_is_named(project):
    folder = project.root / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": 1, "tags": ["x", "y"]}\n{"id": 2}\n')
    (folder / "b.csv").write_text("id\n1\n2\n3\n")
    project.write(
        "files/defs.yaml",
        """
        type: loadsmith.DltLoadCollectionComponent

        attributes:
          defaults:
            destination: duckdb
            destination_params: {database: files.duckdb}
            pipeline_params: {dataset_name: lake}
          loads:
            - source_module: filesystem.readers
              source_params: {bucket_url: data, file_glob: "*.jsonl"}
              resources: [read_jsonl]
              run_params: {table_name: events}
            - source_module: filesystem.readers
              source_params: {bucket_url: data, file_glob: "*.csv"}
              resources: [read_csv]
              run_params: {table_name: people}
        """,
    )

    assert project.asset_keys() == {"lake/events", "lake/people"}
    result = project.materialize()

    rows = {
        event.asset_key.to_user_string(): event.materialization.metadata["rows_loaded"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() in ("lake/events", "lake/people")
    }
    assert rows == {"lake/events": 2, "lake/people": 3}
    assert project.rows("files.duckdb", "select count(*) from lake.people") == [(3,)]


def test_a_dataset_that_is_called_like_its_duckdb_file_is_refused_in_words(project, api):
    project.write(
        "shop/defs.yaml",
        f"""
        type: loadsmith.DltLoadCollectionComponent

        attributes:
          loads:
            - source_module: rest_api
              source_params: {{client: {{base_url: "{api.url}"}}, resources: [items]}}
              destination: duckdb
              destination_params: {{database: Shop.duckdb}}
              pipeline_params: {{dataset_name: shop}}
        """,
    )

    said = project.failure()
    assert "shop/defs.yaml:" in said
    assert "dataset 'shop': the DuckDB file 'Shop.duckdb' has the same name" in said


def test_a_dataset_in_python_that_is_called_like_its_duckdb_file_is_refused_in_the_run(shop):
    file = shop.defs / "ingest" / "loads.py"
    file.write_text(file.read_text().replace("shop_data", "shop"))
    shop.write(
        "ingest/defs.yaml",
        HEAD + "  loads: [{source: .loads.shop_source, pipeline: .loads.shop_pipeline}]\n",
    )

    with pytest.raises(dg.Failure, match=r"'shop.duckdb' has the same name.*'shop_data'"):
        shop.materialize()


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("destination: dukdb", "'dukdb': dlt has none of that name. Did you mean 'duckdb'"),
        (
            "destination: duckdb, destination_params: {databas: x}",
            "it takes no parameter 'databas'. Did you mean 'database'",
        ),
    ],
)
def test_a_misspelled_destination_is_said_before_a_run(shop, destination, said):
    shop.write(
        "ingest/defs.yaml", f"{HEAD}  loads: [{{source: .loads.shop_source, {destination}}}]\n"
    )

    found = shop.failure()
    assert said in found
    assert "ingest/defs.yaml:4:" in found
