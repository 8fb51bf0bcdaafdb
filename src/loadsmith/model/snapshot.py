"""LoadSnapshot: what a load is known to produce before it runs; plain data, JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from loadsmith.model.inputs import InputSnapshot


@dataclass(frozen=True, kw_only=True)
class ColumnSnapshot:
    """A column as dlt's schema has it; `data_type` is None until a first value was seen.

    `dlt_keys` says which of dlt's keys the column is: `row_key`, `parent_key`, `root_key`.
    """

    name: str
    data_type: str | None = None
    nullable: bool = True
    primary_key: bool = False
    merge_key: bool = False
    unique: bool = False
    dlt_keys: tuple[str, ...] = ()
    precision: int | None = None
    scale: int | None = None
    description: str | None = None

    @property
    def type_text(self) -> str | None:
        """The type with its precision and scale, as in `decimal(38,9)`."""
        if self.data_type is None or self.precision is None:
            return self.data_type
        scale = "" if self.scale is None else f",{self.scale}"
        return f"{self.data_type}({self.precision}{scale})"


@dataclass(frozen=True, kw_only=True)
class TableSnapshot:
    """A table: a root table has a `resource`, a nested one a `parent` table.

    `resource` of a nested table is the resource of its root table, so that it is never empty.
    `place` is where a run has put it, in the form that `InputSnapshot.reads` takes.
    """

    name: str
    resource: str
    parent: str | None = None
    columns: tuple[ColumnSnapshot, ...] = ()
    description: str | None = None
    write_disposition: str | None = None
    place: str | None = None

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the columns of the primary key."""
        return tuple(column.name for column in self.columns if column.primary_key)


@dataclass(frozen=True, kw_only=True)
class IncrementalSnapshot:
    """The cursor of a resource, as its definition has it."""

    cursor_path: str
    initial_value: str | None = None


@dataclass(frozen=True, kw_only=True)
class ResourceSnapshot:
    """A resource and its tables. Attribute names are those of dlt's `DltResource`.

    Attributes:
        upstream: Name of the resource that feeds this one, where it is a transformer.
        feeds: Names of all that feeds this one, the next first; they need not be in the source.
        cursors: Names, its own or of `feeds`, whose cursors move when this resource is read.
        selected: Whether the source loads it unless told otherwise.
        inputs: Where a run has read the resource from.
        meta: Plain data that the resource carries for Dagster.
        seen: The resource as the last run of it saw it, where nobody asks the source. It says
            more of what is there, and never what is there.
    """

    name: str
    source_name: str
    section: str | None = None
    table_name: str | None = None
    write_disposition: str | None = None
    primary_key: tuple[str, ...] = ()
    description: str | None = None
    is_transformer: bool = False
    upstream: str | None = None
    feeds: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()
    selected: bool = True
    incremental: IncrementalSnapshot | None = None
    tables: tuple[TableSnapshot, ...] = ()
    inputs: tuple[InputSnapshot, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    seen: "ResourceSnapshot | None" = None

    @property
    def root_tables(self) -> tuple[TableSnapshot, ...]:
        """Tables without a parent; none where nobody has looked yet."""
        return tuple(table for table in self.tables if table.parent is None)


@dataclass(frozen=True, kw_only=True)
class LoadSnapshot:
    """What is known of a load before it runs.

    Attributes:
        origin: Where it was read: `schema file`, `stored`, `source` or `live`; `names` where the
            definition only names resources and nobody has looked yet.
        version_hash: Hash of the dlt schema that it was read from, where there is one.
    """

    source_name: str
    resources: tuple[ResourceSnapshot, ...]
    origin: str
    pipeline_name: str | None = None
    dataset_name: str | None = None
    destination_name: str | None = None
    version_hash: str | None = None

    def resource(self, name: str) -> ResourceSnapshot | None:
        """Return the resource of that name, or None."""
        return next((found for found in self.resources if found.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back and JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "LoadSnapshot":
        """Build a snapshot from what `to_dict` gave."""
        return LoadSnapshot(
            **{
                **value,
                "resources": tuple(_read_resource(resource) for resource in value["resources"]),
            }
        )


def _read_resource(value: Mapping[str, Any]) -> ResourceSnapshot:
    incremental = value.get("incremental")
    return ResourceSnapshot(
        **{
            **value,
            **{key: tuple(value.get(key, ())) for key in ("primary_key", "feeds", "cursors")},
            "incremental": IncrementalSnapshot(**incremental) if incremental else None,
            "tables": tuple(_read_table(table) for table in value.get("tables", ())),
            "inputs": tuple(map(InputSnapshot.from_dict, value.get("inputs", ()))),
            "seen": _read_resource(value["seen"]) if value.get("seen") else None,
        }
    )


def _read_table(value: Mapping[str, Any]) -> TableSnapshot:
    columns = tuple(
        ColumnSnapshot(**{**column, "dlt_keys": tuple(column.get("dlt_keys", ()))})
        for column in value.get("columns", ())
    )
    return TableSnapshot(**{**value, "columns": columns})
