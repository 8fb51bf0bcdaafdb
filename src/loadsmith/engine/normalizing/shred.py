"""Turn plain records into columns of values for each table, with dlt's names, ids and values.

This calls the functions of `dlt.common.normalizers.json.relational` and the coercion of
`dlt.normalize.items_normalizers.jsonl` per column instead of per record. If they would change the
schema, it raises `NotPlain` instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema
from dlt.common.schema.utils import is_complete_column, is_nullable_column

from loadsmith.engine.dlt_hooks import NamesOfDlt
from loadsmith.engine.normalizing.coerce import Coercion, decode
from loadsmith.engine.normalizing.columns import (
    MISSING,
    Column,
    Missing,
    NotPlain,
    Values,
    column_of,
    columns_of,
    items_of,
    positions_in,
    repeated,
)
from loadsmith.engine.normalizing.ids import make_nested_ids, make_random_ids

_Key = TypeVar("_Key")
Batch = tuple[str, dict[str, Values], int]

_NONE = type(None)
_NESTED = frozenset((dict, list))
_EMPTY: dict[str, Any] = {}


@dataclass(frozen=True)
class _Rows:
    """Rows of a table: records, or values if the table holds a list of simple values.

    `extend` has texts that a parent propagates, and `system` has ids, both as columns.
    """

    path: tuple[str, ...]
    level: int
    ids: list[str]
    extend: Mapping[str, Column]
    system: Mapping[str, Column]
    records: Sequence[dict[str, Any]] | None = None
    values: Column | None = None


class Shredder:
    """Turns records of root tables into columns of the tables of the schema."""

    def __init__(
        self,
        *,
        schema: Schema,
        normalizer: DataItemNormalizer,
        load_id: str,
        timezone_override: bool | None,
    ) -> None:
        self.schema = schema
        self.normalizer = normalizer
        self.names = NamesOfDlt(normalizer, schema)
        self.coercion = Coercion(normalizer, timezone_override)
        self._load_id = load_id

    def shred(
        self, root_table: str, records: Sequence[Any], may_have_pua: bool
    ) -> tuple[list[Batch], set[tuple[str, str]]]:
        """Return the rows of each table as columns, and the columns with nulls only.

        Raises:
            NotPlain: The records do not fit the schema. Nothing was changed.
        """
        normalizer, names = self.normalizer, self.names
        if set(map(type, records)) != {dict}:
            raise NotPlain
        table = names.table_identifier(root_table)
        if names.row_id_type(table) != "random":
            raise NotPlain
        ids = make_random_ids(len(records))
        chunk = _Chunk(self, may_have_pua)
        chunk.take(
            _Rows(
                path=(table,),
                level=names.nesting_level(table, normalizer.max_nesting) or 0,
                ids=ids,
                extend={},
                system={
                    normalizer.c_dlt_load_id: Column([self._load_id] * len(records), {str}),
                    normalizer.c_dlt_id: Column(ids, {str}),
                },
                records=records,
            ),
            is_root=True,
        )
        return chunk.batches, chunk.null_only


class _Chunk:
    """One chunk on its way; what it collects counts only when all of it turned out plain."""

    def __init__(self, shredder: Shredder, may_have_pua: bool) -> None:
        self.batches: list[Batch] = []
        self.null_only: set[tuple[str, str]] = set()
        self._schema = shredder.schema
        self._normalizer = shredder.normalizer
        self._names = shredder.names
        self._coercion = shredder.coercion
        self._may_have_pua = may_have_pua

    def take(self, rows: _Rows, is_root: bool = False) -> None:
        """Collect the rows, and the rows that are nested in them."""
        normalizer, names = self._normalizer, self._names
        table_name = names.shortened(*rows.path)
        table = self._schema.tables.get(table_name)
        if table is None or (not is_root and not names.should_be_nested(table_name)):
            raise NotPlain
        if any(table_name == taken for taken, _columns, _rows in self.batches):
            # Two lists go to the same table. dlt writes their rows in the order of the records.
            raise NotPlain
        lists: dict[tuple[str, ...], Column] = {}
        if rows.records is None:
            assert rows.values is not None
            columns: dict[str, Column] = {normalizer.c_value: rows.values}
        else:
            columns, lists = self._flatten(table_name, rows.records, rows.level)
        for more in (rows.extend, rows.system):
            if not columns.keys().isdisjoint(more):
                raise NotPlain
            columns.update(more)
        written = {}
        for name, column in columns.items():
            coerced = self._coerced(table_name, table["columns"].get(name), name, column)
            if coerced is not None:
                written[name] = coerced
        self.batches.append((table_name, written, len(rows.ids)))
        if lists:
            extend = {**rows.extend, **self._propagated(table_name, rows, is_root)}
            for path, column in lists.items():
                self._take_list(rows, path, column, extend)

    def _take_list(
        self,
        parent: _Rows,
        path: tuple[str, ...],
        lists: Column,
        extend: Mapping[str, Column],
    ) -> None:
        normalizer, names = self._normalizer, self._names
        values, lengths = items_of(lists)
        if not values:
            return
        items = column_of(values)
        is_of_lists = items.types == {list}
        if is_of_lists:
            # dlt puts a table between the lists and their items.
            values = [{"list": value} for value in values]
        elif items.types != {dict} and not items.types.isdisjoint(_NESTED):
            raise NotPlain
        is_nested = is_of_lists or items.types == {dict}
        path = parent.path + path
        parent_ids = repeated(parent.ids, lengths)
        positions = positions_in(lengths)
        ids = make_nested_ids(parent_ids, names.shortened(*path), positions)
        self.take(
            _Rows(
                path=path,
                level=parent.level - (2 if is_of_lists else 1),
                ids=ids,
                extend={
                    name: Column(repeated(column.values, lengths), column.types)
                    for name, column in extend.items()
                },
                system={
                    normalizer.c_dlt_parent_id: Column(parent_ids, {str}),
                    normalizer.c_dlt_list_idx: Column(positions, {int}),
                    normalizer.c_dlt_id: Column(ids, {str}),
                },
                records=values if is_nested else None,
                values=None if is_nested else items,
            )
        )

    def _propagated(self, table_name: str, rows: _Rows, is_root: bool) -> dict[str, Column]:
        normalizer, names = self._normalizer, self._names
        if not normalizer.propagation_config or not names.propagation:
            return {}
        propagated = {}
        for name, name_there in names.propagation(table_name, is_root).items():
            if name not in rows.system:
                raise NotPlain
            propagated[str(name_there)] = rows.system[name]
        return propagated

    def _flatten(
        self, table_name: str, records: Sequence[dict[str, Any]], level: int
    ) -> tuple[dict[str, Column], dict[tuple[str, ...], Column]]:
        names = self._names
        columns: dict[str, Column] = {}
        lists: dict[tuple[str, ...], Column] = {}
        nulls: set[str] = set()
        stack: list[tuple[Sequence[dict[str, Any]], int, tuple[str, ...]]] = [(records, level, ())]
        while stack:
            current, current_level, path = stack.pop()
            for key, column in columns_of(current):
                part = self._part(key)
                name = names.shortened(*path, part) if path else part
                kinds = column.types - {_NONE, Missing}
                if kinds.isdisjoint(_NESTED) or names.is_nested_type(
                    table_name, name, current_level
                ):
                    _add(columns, name, column)
                    continue
                if len(kinds) > 1:
                    raise NotPlain
                if _NONE in column.types:
                    nulls.add(name)
                if list in kinds:
                    list_name = names.table_identifier(key)
                    _add(lists, (*path, list_name), column)
                    continue
                values = column.values
                if len(column.types) > 1:
                    values = [value if type(value) is dict else _EMPTY for value in values]
                stack.append((values, current_level - 1, (*path, part)))
        if not nulls.isdisjoint(columns):
            raise NotPlain
        for name in nulls:
            self._note_nulls(table_name, self._schema.tables[table_name]["columns"].get(name), name)
        return columns, lists

    def _part(self, key: str) -> str:
        if not key or key.isspace():
            return self._normalizer.EMPTY_KEY_IDENTIFIER
        return self._names.identifier(key)

    def _coerced(
        self, table_name: str, schema: TColumnSchema | None, name: str, column: Column
    ) -> Values | None:
        values, types = column
        if _NONE in types:
            self._note_nulls(table_name, schema, name)
        if Missing in types:
            values = [None if value is MISSING else value for value in values]
            types = types - {Missing} | {_NONE}
        if types == {_NONE}:
            return None
        if schema is None or not is_complete_column(schema):
            raise NotPlain
        if self._may_have_pua and not types.isdisjoint((str, dict, list)):
            values = list(map(decode, values))
            types = set(map(type, values))
        return self._coercion.coerced(schema, Column(values, types))

    def _note_nulls(self, table_name: str, schema: TColumnSchema | None, name: str) -> None:
        if schema is not None and is_complete_column(schema):
            if not is_nullable_column(schema):
                raise NotPlain
            return
        if schema is None and self._names.infer_hint("not_null", name):
            raise NotPlain
        self.null_only.add((table_name, name))


def _add(columns: dict[_Key, Column], key: _Key, column: Column) -> None:
    if key in columns:
        raise NotPlain
    columns[key] = column
