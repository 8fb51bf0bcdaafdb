"""The task `duckdb_query`: run SQL and report the number of rows and a preview."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from pydantic import Field

from loadsmith.documents import read_whole
from loadsmith.engine.secrets import Redactor
from loadsmith.errors import ResolveError
from loadsmith.project.tasks import Task, TaskContext, TaskResult

if TYPE_CHECKING:
    import duckdb

#: Rows in the preview; the others are only counted.
PREVIEW_ROWS = 10

#: Characters that the preview shows of one value.
PREVIEW_WIDTH = 80

#: Rows that are in memory at once while a result is counted.
BATCH_ROWS = 10_000


_CREATED = re.compile(
    r"create\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+)?table\s+(?:if\s+not\s+exists\s+)?"
    r"((?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))*)",
    re.IGNORECASE,
)


class DuckDBQuery(Task):
    """Run SQL statements in the project's DuckDB, and report the result of the last one."""

    kinds: ClassVar[tuple[str, ...]] = ("duckdb",)
    required_resources: ClassVar[tuple[str, ...]] = ("duckdb",)

    query: str = Field(description="The SQL, or with `is_file` the path of the file that holds it.")
    is_file: bool = Field(
        default=False,
        description="Whether `query` is a path, from the folder that holds the configuration "
        "folder. Variables in the file are filled in as well.",
    )

    @classmethod
    def spec_metadata(cls, params: Mapping[str, Any], project_folder: Path) -> dict[str, Any]:
        """Return the SQL as it stands in the file, with its variables, for the asset's page."""
        sql = str(params.get("query", ""))
        if params.get("is_file"):
            try:
                sql = read_whole(project_folder / sql).decode("utf-8")
            except (OSError, UnicodeDecodeError):
                # The run says so.
                return {}
        redactor = Redactor()
        redactor.add_params({"query": sql})
        return {"sql": dg.MetadataValue.md(f"```sql\n{redactor.redact(sql).strip()}\n```")}

    def run(self, context: TaskContext) -> TaskResult:
        """Run the query, waiting while another process has the database open.

        Raises:
            ResolveError: The file is not there, or there is no SQL.
        """
        sql = self._read(context)
        database = context.resource("duckdb")
        with database.get_connection(
            log=context.log.info, who=f"{context.asset_key} in run {context.run_id}"
        ) as connection:
            answer = _run_query(connection, sql, place=context.asset_key)
        return TaskResult(metadata=_describe(answer))

    def _read(self, context: TaskContext) -> str:
        if not self.is_file:
            return self.query
        path = context.path(self.query)
        try:
            text = read_whole(path).decode("utf-8")
        except OSError as error:
            raise ResolveError(
                f"{context.asset_key}: the SQL file {self.query!r} cannot be read "
                f"({error.strerror}). It is looked for from {context.project_folder}."
            ) from error
        return str(context.render(text))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The result of the last statement."""

    row_count: int
    columns: Sequence[tuple[str, str]] = ()
    first_rows: tuple[tuple[Any, ...], ...] = ()
    has_preview: bool = False


def _run_query(connection: "duckdb.DuckDBPyConnection", sql: str, *, place: str) -> _Answer:
    import duckdb

    statements = connection.extract_statements(sql)
    if not statements:
        raise ResolveError(f"{place}: the query is empty. Write some SQL into `query`.")
    last = statements[-1]
    for statement in statements:
        try:
            connection.execute(statement)
        except duckdb.CatalogException as error:
            raise ResolveError(
                f"{place}: {error}\nA table that never had a row is not in its destination yet: "
                "load some rows first."
            ) from error
    if duckdb.ExpectedResultType.CHANGED_ROWS in last.expected_result_type:
        # `CREATE TABLE ... AS`, `INSERT` and the like return a single number, `Count`.
        changed = connection.fetchone()
        return _Answer(
            row_count=int(changed[0]) if changed else 0, columns=_columns_made(connection, last)
        )
    if not connection.description:
        return _Answer(row_count=0)
    columns = [(column[0], str(column[1])) for column in connection.description]
    first = connection.fetchmany(PREVIEW_ROWS)
    count = len(first)
    while batch := connection.fetchmany(BATCH_ROWS):
        count += len(batch)
    return _Answer(row_count=count, columns=columns, first_rows=tuple(first), has_preview=True)


def _columns_made(connection: "duckdb.DuckDBPyConnection", statement: Any) -> list[tuple[str, str]]:
    """Return the columns of the table that a statement has created; none where it is another."""
    made = _CREATED.match(statement.query.lstrip())
    if made is None:
        return []
    return [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE {made[1]}").fetchall()]


def _describe(answer: _Answer) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {"dagster/row_count": answer.row_count}
    if answer.columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            [dg.TableColumn(name, type_name) for name, type_name in answer.columns]
        )
    if answer.has_preview:
        names = [name for name, _ in answer.columns]
        metadata["preview"] = dg.MetadataValue.md(markdown_table(names, answer.first_rows))
    return metadata


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a Markdown table; long values are cut, and all are escaped."""
    lines = [_line(names), _line(["---"] * len(names)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(values: Sequence[Any]) -> str:
    return "| " + " | ".join(_cell(value) for value in values) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value).replace("\r", "").replace("\n", " ")
    if len(text) > PREVIEW_WIDTH:
        text = text[: PREVIEW_WIDTH - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|")
