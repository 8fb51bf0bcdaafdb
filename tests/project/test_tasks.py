"""Tasks: the query that is always there, and those of a project's own."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from pydantic import BaseModel

from loadsmith import Task, TaskContext, TaskResult, resource_kind, task_type
from loadsmith.errors import ConfigError, ResolveError

Make = Callable[..., Any]


@resource_kind("greeter")
class Greeter(dg.ConfigurableResource):
    word: str
    times: int = 2

    def greet(self, name: str) -> str:
        return " ".join([self.word] * self.times + [name])


@task_type("greet")
class Greet(Task):
    name: str
    loud: bool = False

    def run(self, context: TaskContext) -> TaskResult:
        text = context.resource("greeter").greet(self.name)
        return TaskResult(metadata={"text": text.upper() if self.loud else text})


@task_type("plain_model")
class PlainModel(BaseModel):
    number: int

    def run(self, context: TaskContext) -> Mapping[str, Any]:
        return {"twice": self.number * 2, "partition": context.partition_key or "none"}


def query(sql: str, more: str = "") -> str:
    return f"""
    assets:
      - asset_key: answer
        task_type: duckdb_query
        params:
          query: {sql!r}
          {more}
    """


def test_a_query_reports_rows_columns_and_a_preview(make_project: Make) -> None:
    project = make_project(q=query("select 1 as a, 'x|y' as b union all select 2, null order by 1"))
    project.build()
    metadata = project.metadata(project.run())["answer"]
    assert metadata["dagster/row_count"] == 2
    columns = metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [
        ("a", "INTEGER"),
        ("b", "VARCHAR"),
    ]
    assert metadata["preview"] == "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |"


def test_a_query_without_rows_is_fine(make_project: Make) -> None:
    project = make_project(q=query("select 1 as a where false"))
    project.build()
    metadata = project.metadata(project.run())["answer"]
    assert metadata["dagster/row_count"] == 0
    assert [column.name for column in metadata["dagster/column_schema"].columns] == ["a"]


def test_the_last_of_several_statements_reports(make_project: Make) -> None:
    project = make_project(
        q=query("create table t as select range as n from range(25000); select * from t")
    )
    project.build()
    metadata = project.metadata(project.run())["answer"]
    assert metadata["dagster/row_count"] == 25_000
    assert metadata["preview"].count("\n") == 11


def test_a_statement_that_changes_rows_counts_them(make_project: Make) -> None:
    project = make_project(q=query("create table t as select range as n from range(7)"))
    project.build()
    metadata = project.metadata(project.run())["answer"]
    assert metadata["dagster/row_count"] == 7
    columns = metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [("n", "BIGINT")]


def test_a_query_shows_its_sql_without_secrets(make_project: Make) -> None:
    sql = "select '{{context.run_id}}' as run, 'postgresql://ada:hunter22@host/db' as address"
    project = make_project(q=query(sql))
    (spec,) = project.build().resolve_all_asset_specs()
    shown = spec.metadata["sql"].value
    assert shown.startswith("```sql\nselect '{{context.run_id}}' as run, 'postgresql://ada:***@")
    project.write({"odp_config/sql/answer.sql": "select 1 as one"})
    project = make_project(q=query("odp_config/sql/answer.sql", "is_file: true"))
    project.write({"odp_config/sql/answer.sql": "select 1 as one"})
    (spec,) = project.build().resolve_all_asset_specs()
    assert spec.metadata["sql"].value == "```sql\nselect 1 as one\n```"


def test_a_query_file_starts_from_the_project_folder_and_has_variables(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(q=query("odp_config/sql/answer.sql", "is_file: true"))
    project.write({"odp_config/sql/answer.sql": "select '{{context.run_id}}' as run"})
    project.build()
    monkeypatch.chdir("/")
    result = project.run()
    assert result.run_id in project.metadata(result)["answer"]["preview"]


def test_a_query_file_that_is_not_there_is_named(make_project: Make) -> None:
    project = make_project(q=query("nowhere.sql", "is_file: true"))
    project.build()
    result = project.run(fails=True)
    assert "the SQL file 'nowhere.sql' cannot be read" in _failure(result)


def test_a_query_reads_what_its_parents_report(make_project: Make) -> None:
    project = make_project(
        shop="""
        assets:
          - asset_key: shop/api/orders
            task_type: dlt
            params: {LOAD}
          - asset_key: items_by_order
            task_type: duckdb_query
            depends_on: [shop/api/orders, shop/api/orders__items]
            params:
              query: |
                select o.id, count(*) as items
                from {{shop_api_orders.destination_table_id}} as o
                join {{shop_api_orders__items.destination_table_id}} as i
                  on i._dlt_parent_id = o._dlt_id
                group by 1 order by 1
        """
    )
    project.build()
    assert "| 0 | 2 |" in project.metadata(project.run())["items_by_order"]["preview"]


def test_a_query_over_loads_needs_no_resource_of_its_own(make_project: Make) -> None:
    project = make_project(
        shop="""
        assets:
          - asset_key: shop/api/orders
            task_type: dlt
            params: {LOAD}
          - asset_key: count
            task_type: duckdb_query
            depends_on: [shop/api/orders]
            params: {query: "select * from {{shop_api_orders.destination_table_id}}"}
        """
    ).write(
        {
            "odp_config/dagster_config.yaml": """
            resources:
              - resource_kind: dlt
                params: {project_dir: dlt_project}
            """
        }
    )
    project.build()
    assert project.metadata(project.run())["count"]["dagster/row_count"] == 2


def test_a_query_without_any_database_says_what_to_add(make_project: Make) -> None:
    project = make_project(q=query("select 1")).write(
        {"odp_config/dagster_config.yaml": "resources: []"}
    )
    with pytest.raises(ConfigError, match="resource_kind: duckdb"):
        project.build()


def test_a_parent_that_was_never_materialized_is_named(make_project: Make) -> None:
    project = make_project(
        q="""
        assets:
          - asset_key: one
            task_type: duckdb_query
            params: {query: select 1}
          - asset_key: two
            task_type: duckdb_query
            depends_on: [one]
            params: {query: "select {{one.row_count}}"}
        """
    )
    project.build()
    assert "'one' was not materialized yet" in _failure(project.run("two", fails=True))
    project.run("one")
    project.run("two")


def _hold(path: str, seconds: float, ready: Any) -> None:
    with duckdb.connect(path) as connection:
        connection.execute("create table held as select 1 as n")
        ready.set()
        time.sleep(seconds)


def test_a_query_waits_for_a_process_that_has_the_database(make_project: Make) -> None:
    project = make_project(q=query("select n from held"))
    project.build()
    database = project.folder / "data/shop.db"
    database.parent.mkdir()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(database), 1.5, ready))
    holder.start()
    try:
        assert ready.wait(30)
        assert project.metadata(project.run())["answer"]["dagster/row_count"] == 1
    finally:
        holder.join()


GREETINGS = """
assets:
  - asset_key: hello
    task_type: greet
    group_name: talk
    params: {name: "{{env.WHO}}", loud: true}
  - asset_key: doubled
    task_type: plain_model
    depends_on: [hello]
    params: {number: "{{resource.greeter.times}}"}
"""

WITH_GREETER = """
resources:
  - resource_kind: greeter
    params: {word: "{{env.WORD}}", times: 3}
"""


def test_a_task_and_a_resource_of_a_projects_own(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(g=GREETINGS).write({"odp_config/dagster_config.yaml": WITH_GREETER})
    project.build()
    monkeypatch.setenv("WHO", "Ada")
    monkeypatch.setenv("WORD", "hi")
    metadata = project.metadata(project.run())
    assert metadata["hello"]["text"] == "HI HI HI ADA"
    assert metadata["doubled"] == {"twice": 6, "partition": "none"}
    assert project.spec("hello").group_name == "talk"


def test_classes_are_found_by_import_path_in_the_projects_own_folder(make_project: Make) -> None:
    files = {
        "odp_config/dagster_config.yaml": """
        resources:
          - resource_kind: own.resources.Api
            params: {url: "http://localhost"}
        """,
        "own/__init__.py": "",
        "own/resources.py": """
        import dagster as dg

        class Api(dg.ConfigurableResource):
            url: str
        """,
        "own/tasks.py": """
        from loadsmith import Task

        class Call(Task):
            path: str = "/"

            def run(self, context):
                return {"url": context.resource("own.resources.Api").url + self.path}
        """,
    }
    text = """
    assets:
      - asset_key: call
        task_type: own.tasks.Call
        params: {path: /one}
    """
    first = make_project("first", w=text).write(files)
    second = make_project("second", w=text).write(
        {**files, "own/tasks.py": files["own/tasks.py"].replace("+ self.path", "+ '/other'")}
    )
    first.build()
    second.build()
    assert first.metadata(first.run())["call"]["url"] == "http://localhost/one"
    assert second.metadata(second.run())["call"]["url"] == "http://localhost/other"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{nam: x}", "nam"),
        ("{name: 3}", "takes text"),
        ("{name: x, loud: maybe}", "loud"),
    ],
)
def test_wrong_params_of_a_task_are_told_with_their_place(
    make_project: Make, params: str, message: str
) -> None:
    project = make_project(
        g=f"assets:\n  - asset_key: hello\n    task_type: greet\n    params: {params}"
    ).write({"odp_config/dagster_config.yaml": WITH_GREETER})
    with pytest.raises(ConfigError, match=f"workflows/g.yaml:4.*{message}"):
        project.build()


def test_params_that_are_wrong_only_in_the_run_fail_the_run(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(
        g="""
        assets:
          - asset_key: doubled
            task_type: plain_model
            params: {number: "{{env.NUMBER}}"}
        """
    )
    project.build()
    monkeypatch.setenv("NUMBER", "many")
    assert "`number`" in _failure(project.run(fails=True))


def test_an_unknown_task_and_resource_have_close_matches(make_project: Make) -> None:
    project = make_project(
        g="assets:\n  - asset_key: hello\n    task_type: greeet\n    params: {}"
    ).write({"odp_config/dagster_config.yaml": "resources:\n  - resource_kind: greter"})
    with pytest.raises(ConfigError) as caught:
        project.build()
    assert "'greet'" in str(caught.value)
    assert "'greeter'" in str(caught.value)


def test_an_import_path_that_leads_nowhere_is_told(make_project: Make) -> None:
    project = make_project(
        g="assets:\n  - asset_key: hello\n    task_type: shop_tasks.Hello\n    params: {}"
    )
    with pytest.raises(ConfigError, match="'shop_tasks' cannot be imported"):
        project.build()


def test_a_built_in_name_cannot_be_taken() -> None:
    with pytest.raises(ResolveError, match="built in"):
        task_type("duckdb_query")(PlainModel)
    with pytest.raises(ResolveError, match="built in"):
        resource_kind("duckdb")(Greeter)


def test_the_database_path_may_be_absolute_or_in_memory(make_project: Make, tmp_path: Path) -> None:
    project = make_project(q=query("select 1 as a"))
    for path in (":memory:", str(tmp_path / "there.db")):
        project.write(
            {
                "odp_config/dagster_config.yaml": f"""
                resources:
                  - resource_kind: duckdb
                    params: {{database_path: "{path}"}}
                """
            }
        )
        project.build()
        project.run()
    assert (tmp_path / "there.db").exists()
    assert not (project.folder / "data").exists()


def _failure(result: Any) -> str:
    return "\n".join(
        event.event_specific_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure
    )
