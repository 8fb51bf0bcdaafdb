"""The resource kinds `dlt` and `duckdb`, and the register of a project's own kinds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from pydantic import Field

from loadsmith.engine.locks import destination_lock
from loadsmith.errors import ResolveError
from loadsmith.project.lookup import Register

if TYPE_CHECKING:
    import duckdb

C = TypeVar("C", bound=type)

_IN_MEMORY = ":memory:"
_SERVICES = ("md:", "motherduck:")


class DltProject(dg.ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Where the dlt code of a project is: its sources, its schema files and its secrets."""

    project_dir: str = Field(
        description="Folder of the dlt code, from the folder that holds the configuration folder.",
    )
    pipelines_dir: str | None = Field(
        default=None, description="Folder of dlt's working directories; dlt's own if left out."
    )


class DuckDBDatabase(dg.ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """A DuckDB database; one process of this machine has it open at a time, the others wait."""

    database_path: str = Field(
        description="Database file, from the folder that holds the configuration folder; "
        "`:memory:` for none, `md:...` for MotherDuck.",
    )
    base_path: str | None = Field(
        default=None,
        description="Folder that a relative database_path starts from. Set by loadsmith.",
    )

    @property
    def path(self) -> str:
        """The path that DuckDB opens."""
        if not self.is_file:
            return self.database_path
        return str(Path(self.base_path or ".").absolute() / self.database_path)

    @property
    def is_file(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.database_path != _IN_MEMORY and not self.database_path.startswith(_SERVICES)

    @contextmanager
    def get_connection(
        self, *, log: Callable[[str], None] = lambda _line: None, who: str = "a query"
    ) -> "Iterator[duckdb.DuckDBPyConnection]":
        """Open the database during the block, and wait while another process has it open.

        Args:
            log: Receives a line now and then while it waits.
            who: Name of this user of the database, for the log of others that wait.
        """
        import duckdb

        if not self.is_file:
            with duckdb.connect(self.path) as connection:
                yield connection
            return
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with (
            destination_lock(self.path, log=log, who=who),
            duckdb.connect(self.path) as connection,
        ):
            yield connection


def resource_kinds() -> list[str]:
    """Return the names of the registered kinds; nothing is imported."""
    return _KINDS.names()


_KINDS = Register(noun="resource kind", built_in={"dlt": DltProject, "duckdb": DuckDBDatabase})


def resource_kind(name: str) -> Callable[[C], C]:
    """Register the decorated `ConfigurableResource` as the resource kind `name`.

    The module must be imported before `build_definitions` is called; `resource_kind:
    my_package.resources.Api` in the file needs no decorator and no import.

    Raises:
        ResolveError: The name is built in or holds a dot.
    """
    return _KINDS.decorate(name)


def find_resource_kind(name: str, *, project_folder: Path) -> type[Any]:
    """Return the class of `resource_kind: name` in `dagster_config.yaml`.

    Raises:
        ResolveError: There is no such class, or it is not a `ConfigurableResource`.
    """
    cls = _KINDS.find(name, project_folder=project_folder)
    if not issubclass(cls, dg.ConfigurableResource):
        raise ResolveError(
            f"resource kind {name!r}: {cls.__qualname__} is no resource. Derive it from "
            "`dagster.ConfigurableResource`."
        )
    return cls
