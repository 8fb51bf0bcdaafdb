"""Plain records in, columns of values per table out; names, ids and values are dlt's.

This is `dlt.common.normalizers.json.relational` and the coercion of
`dlt.normalize.items_normalizers.jsonl` turned by ninety degrees: the same functions, called per
column. What they would do to the schema is not done here: it raises `NotPlain`.
"""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, TypeVar

from dlt.common.json import (
    PUA_CHARACTER_MAX,
    PUA_START,
    custom_pua_decode,
    custom_pua_decode_nested,
    json,
)
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES
from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema, TTableSchemaColumns
from dlt.common.schema.utils import is_complete_column, is_nullable_column
from dlt.common.time import normalize_timezone

Values = Sequence[Any]
_Key = TypeVar("_Key")
Batch = tuple[str, dict[str, Values], int]


class NotPlain(Exception):
    """These records need dlt's own normalizer."""


class _Missing:
    """Stands where a record lacks a key that others have; None is a value of its own for dlt."""


_MISSING = _Missing()
_NONE = type(None)
_NESTED = frozenset((dict, list))
_EMPTY: dict[str, Any] = {}
_FIRST_PUA = chr(PUA_START)
_LAST_PUA = chr(PUA_START + PUA_CHARACTER_MAX)

# Records with keys of their own (a mapping written as an object) make a table of mostly nothing.
_MAX_KEYS = 1000


@dataclass(frozen=True)
class _Rows:
    """Rows of one table: records, or for a list of simple values the values.

    `extend` are values propagated from a parent, `system` the ids; both as columns.
    """

    path: tuple[str, ...]
    level: int
    ids: list[str]
    extend: dict[str, Values]
    system: dict[str, Values]
    records: Sequence[dict[str, Any]] | None = None
    values: Values | None = None


class Shredder:
    """Turns records of root tables into columns of the tables that the schema has."""

    def __init__(
        self,
        *,
        schema: Schema,
        normalizer: DataItemNormalizer,
        load_id: str,
        timezone_override: bool | None,
    ) -> None:
        self._schema = schema
        self._normalizer = normalizer
        self._load_id = load_id
        self._timezone_override = timezone_override
        self._sc_types = normalizer.py_type_to_sc_type_map

    def shred(
        self, root_table: str, records: Sequence[Any], may_have_pua: bool
    ) -> tuple[list[Batch], set[tuple[str, str]]]:
        """Return the rows of each table as columns, and the columns that had nothing but nulls.

        Raises:
            NotPlain: The records do not fit the schema as it is; nothing was changed.
        """
        normalizer = self._normalizer
        if set(map(type, records)) != {dict}:
            raise NotPlain
        table = normalizer._normalize_table_identifier(root_table)
        if normalizer._get_root_row_id_type(table) != "random":
            raise NotPlain
        ids = _random_ids(len(records))
        run = _Run(self, may_have_pua)
        run.take(
            _Rows(
                path=(table,),
                level=normalizer._get_table_nesting_level(table, normalizer.max_nesting) or 0,
                ids=ids,
                extend={},
                system={
                    normalizer.c_dlt_load_id: [self._load_id] * len(records),
                    normalizer.c_dlt_id: ids,
                },
                records=records,
            ),
            is_root=True,
        )
        return run.batches, run.null_only

    def coerced(self, column: TColumnSchema, values: Values, types: set[type]) -> Values:
        """Return the values as dlt would write them into a column that exists.

        Raises:
            NotPlain: A value would go to a variant column.
        """
        data_type = column["data_type"]
        assert data_type is not None
        finish = self._finisher(column)
        converters: dict[type, Callable[[Any], Any] | None] = {_NONE: None}
        for value_type in types:
            known = self._sc_types.get(value_type)
            if known == data_type:
                converters[value_type] = finish
            elif known and self._normalizer.can_coerce_type(data_type, known):
                converters[value_type] = self._converter(data_type, known, finish)
            else:
                raise NotPlain
        if not any(converters.values()):
            return values
        try:
            return [
                value if (convert := converters[type(value)]) is None else convert(value)
                for value in values
            ]
        except (ValueError, SyntaxError):
            raise NotPlain from None

    def _finisher(self, column: TColumnSchema) -> Callable[[Any], Any] | None:
        """Return what dlt does to a value of the right type before it is written, or None."""
        if column["data_type"] == "json":
            return lambda value: (
                value if value is None or isinstance(value, str) else json.dumps(value)
            )
        if column["data_type"] != "timestamp":
            return None
        timezone = (
            column.get("timezone", True)
            if self._timezone_override is None
            else self._timezone_override
        )
        return lambda value: normalize_timezone(value, bool(timezone))

    def _converter(
        self, data_type: Any, from_type: Any, finish: Callable[[Any], Any] | None
    ) -> Callable[[Any], Any]:
        coerce = self._normalizer.coerce_type

        def convert(value: Any) -> Any:
            coerced = coerce(data_type, from_type, value)
            return finish(coerced) if finish else coerced

        # Text repeats itself, and equal texts are the same text, which equal numbers are not.
        return _Remembering(convert).__getitem__ if from_type == "text" else convert


class _Remembering(dict[str, Any]):
    """The results of a function by argument."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, argument: str) -> Any:
        result = self[argument] = self._function(argument)
        return result


class _Run:
    """One chunk on its way; what it collects counts only when all of it turned out plain."""

    def __init__(self, shredder: Shredder, may_have_pua: bool) -> None:
        self.batches: list[Batch] = []
        self.null_only: set[tuple[str, str]] = set()
        self._shredder = shredder
        self._schema = shredder._schema
        self._normalizer = shredder._normalizer
        self._may_have_pua = may_have_pua

    def take(self, rows: _Rows, is_root: bool = False) -> None:
        normalizer = self._normalizer
        table_name = normalizer._shorten_fragments(*rows.path)
        table = self._schema.tables.get(table_name)
        if table is None or (not is_root and not normalizer._should_be_nested(table_name)):
            raise NotPlain
        if any(table_name == taken for taken, _columns, _rows in self.batches):
            # Two lists make one table, in which dlt writes their rows record by record.
            raise NotPlain
        lists: dict[tuple[str, ...], Values] = {}
        if rows.records is None:
            assert rows.values is not None
            columns: dict[str, Values] = {normalizer.c_value: rows.values}
        else:
            columns, lists = self._flatten(table_name, rows.records, rows.level)
        for more in (rows.extend, rows.system):
            if not columns.keys().isdisjoint(more):
                raise NotPlain
            columns.update(more)
        written = {}
        for name, values in columns.items():
            coerced = self._column(table_name, table["columns"], name, values)
            if coerced is not None:
                written[name] = coerced
        self.batches.append((table_name, written, len(rows.ids)))
        if lists:
            extend = {**rows.extend, **self._propagated(table_name, rows, is_root)}
            for path, values in lists.items():
                self._take_list(rows, path, values, extend)

    def _take_list(
        self, parent: _Rows, path: tuple[str, ...], lists: Values, extend: dict[str, Values]
    ) -> None:
        normalizer = self._normalizer
        lengths = [len(value) if type(value) is list else 0 for value in lists]
        values = list(chain.from_iterable(value for value in lists if type(value) is list))
        if not values:
            return
        types = set(map(type, values))
        if types == {list}:
            values = [{"list": value} for value in values]
        elif types != {dict} and not types.isdisjoint(_NESTED):
            raise NotPlain
        path = parent.path + path
        parent_ids = _repeated(parent.ids, lengths)
        positions = list(chain.from_iterable(map(range, lengths)))
        ids = _nested_ids(parent_ids, normalizer._shorten_fragments(*path), positions)
        is_nested = types in ({list}, {dict})
        self.take(
            _Rows(
                path=path,
                level=parent.level - (2 if types == {list} else 1),
                ids=ids,
                extend={name: _repeated(column, lengths) for name, column in extend.items()},
                system={
                    normalizer.c_dlt_parent_id: parent_ids,
                    normalizer.c_dlt_list_idx: positions,
                    normalizer.c_dlt_id: ids,
                },
                records=values if is_nested else None,
                values=None if is_nested else values,
            )
        )

    def _propagated(self, table_name: str, rows: _Rows, is_root: bool) -> dict[str, Values]:
        normalizer = self._normalizer
        if not normalizer.propagation_config or not normalizer._get_propagation_mapping:
            return {}
        propagated = {}
        for name, name_there in normalizer._get_propagation_mapping(table_name, is_root).items():
            if name not in rows.system:
                raise NotPlain
            propagated[str(name_there)] = rows.system[name]
        return propagated

    def _flatten(
        self, table_name: str, records: Sequence[dict[str, Any]], level: int
    ) -> tuple[dict[str, Values], dict[tuple[str, ...], Values]]:
        normalizer = self._normalizer
        columns: dict[str, Values] = {}
        lists: dict[tuple[str, ...], Values] = {}
        nulls: set[str] = set()
        stack: list[tuple[Sequence[dict[str, Any]], int, tuple[str, ...]]] = [(records, level, ())]
        while stack:
            current, current_level, path = stack.pop()
            for key, values in _columns_of(current):
                part = self._part(key)
                name = normalizer._shorten_fragments(*path, part) if path else part
                types = set(map(type, values))
                kinds = types - {_NONE, _Missing}
                if kinds.isdisjoint(_NESTED) or normalizer._is_nested_type(
                    table_name, name, current_level
                ):
                    _add(columns, name, values)
                    continue
                if len(kinds) > 1:
                    raise NotPlain
                if _NONE in types:
                    nulls.add(name)
                if list in kinds:
                    _add(lists, (*path, self._list_name(key)), values)
                    continue
                if len(types) > 1:
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
        return self._normalizer._normalize_identifier(key)

    def _list_name(self, key: str) -> str:
        return self._normalizer._normalize_table_identifier(key)

    def _column(
        self, table_name: str, known: TTableSchemaColumns, name: str, values: Values
    ) -> Values | None:
        types = set(map(type, values))
        column = known.get(name)
        if _NONE in types:
            self._note_nulls(table_name, column, name)
            types.discard(_NONE)
        if _Missing in types:
            values = [None if value is _MISSING else value for value in values]
            types.discard(_Missing)
        if not types:
            return None
        if column is None or not is_complete_column(column):
            raise NotPlain
        if self._may_have_pua and not types.isdisjoint((str, dict, list)):
            values = [_decoded(value) for value in values]
            types = set(map(type, values)) - {_NONE}
        return self._shredder.coerced(column, values, types)

    def _note_nulls(self, table_name: str, column: TColumnSchema | None, name: str) -> None:
        if column is not None and is_complete_column(column):
            if not is_nullable_column(column):
                raise NotPlain
            return
        if column is None and self._schema._infer_hint("not_null", name):
            raise NotPlain
        self.null_only.add((table_name, name))


def _columns_of(records: Sequence[dict[str, Any]]) -> Iterable[tuple[str, Values]]:
    shapes = set(map(tuple, records))
    if len(shapes) == 1:
        return zip(shapes.pop(), zip(*map(dict.values, records), strict=True), strict=True)
    keys = dict.fromkeys(chain.from_iterable(shapes))
    if len(keys) > _MAX_KEYS:
        raise NotPlain
    return ((key, [record.get(key, _MISSING) for record in records]) for key in keys)


def _add(columns: dict[_Key, Values], key: _Key, values: Values) -> None:
    if key in columns:
        raise NotPlain
    columns[key] = values


def _decoded(value: Any) -> Any:
    # A copy, for dlt's normalizer may have to read the records again.
    if type(value) is str:
        return custom_pua_decode(value) if _FIRST_PUA <= value[:1] <= _LAST_PUA else value
    if type(value) is dict or type(value) is list:
        return custom_pua_decode_nested(deepcopy(value))
    return value


def _repeated(values: Values, times: list[int]) -> list[Any]:
    return list(chain.from_iterable(map(repeat, values, times)))


def _random_ids(count: int) -> list[str]:
    # `generate_dlt_ids` of dlt, with one base64 call for all.
    size = DLT_ID_LENGTH_BYTES
    random = secrets.token_bytes(count * size)
    return _split_base64([random[start : start + size] for start in range(0, len(random), size)])


def _nested_ids(parent_ids: list[str], table_name: str, positions: list[int]) -> list[str]:
    # `get_nested_row_hash` of dlt, with one base64 call for all.
    shake = hashlib.shake_128
    return _split_base64(
        [
            shake(f"{parent_id}_{table_name}_{position}".encode(), usedforsecurity=False).digest(
                DLT_ID_LENGTH_BYTES
            )
            for parent_id, position in zip(parent_ids, positions, strict=True)
        ]
    )


def _split_base64(digests: list[bytes]) -> list[str]:
    # Each is filled up to a multiple of three bytes, so that none shares a letter with the next.
    filler = b"\0" * (-DLT_ID_LENGTH_BYTES % 3)
    text = b64encode(filler.join(digests) + filler).decode("ascii")
    step = (DLT_ID_LENGTH_BYTES + len(filler)) // 3 * 4
    length = -(-DLT_ID_LENGTH_BYTES * 8 // 6)
    return [text[start : start + length] for start in range(0, len(text), step)]
