"""Coerce the values of a whole column as dlt coerces single values."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from dlt.common.json import (
    PUA_CHARACTER_MAX,
    PUA_START,
    custom_pua_decode,
    custom_pua_decode_nested,
    json,
)
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.schema.typing import TColumnSchema
from dlt.common.time import normalize_timezone

from loadsmith.engine.normalizing.columns import Column, NotPlain, Values

_NONE = type(None)
_FIRST_PUA = chr(PUA_START)
_LAST_PUA = chr(PUA_START + PUA_CHARACTER_MAX)

_Convert = Callable[[Any], Any]


class Coercion:
    """Coerces values into existing columns as a normalizer of dlt does."""

    def __init__(self, normalizer: DataItemNormalizer, timezone_override: bool | None) -> None:
        self._normalizer = normalizer
        self._timezone_override = timezone_override
        self._sc_types = normalizer.py_type_to_sc_type_map

    def coerced(self, schema: TColumnSchema, column: Column) -> Values:
        """Return the values as dlt would write them.

        Raises:
            NotPlain: A value would go to a variant column.
        """
        data_type = schema["data_type"]
        assert data_type is not None
        finish = self._finisher(schema)
        converters: dict[type, _Convert | None] = {}
        for value_type in column.types - {_NONE}:
            known = self._sc_types.get(value_type)
            if known == data_type:
                converters[value_type] = finish
            elif known and self._normalizer.can_coerce_type(data_type, known):
                converters[value_type] = self._converter(data_type, known, finish)
            else:
                raise NotPlain
        if not any(converters.values()):
            return column.values
        try:
            return _converted(column, converters)
        except (ValueError, SyntaxError):
            raise NotPlain from None

    def _finisher(self, schema: TColumnSchema) -> _Convert | None:
        """Return what dlt applies to a value of the right type before it is written, or None."""
        if schema["data_type"] == "json":
            return lambda value: (
                value if value is None or isinstance(value, str) else json.dumps(value)
            )
        if schema["data_type"] != "timestamp":
            return None
        timezone = (
            schema.get("timezone", True)
            if self._timezone_override is None
            else self._timezone_override
        )
        return lambda value: normalize_timezone(value, bool(timezone))

    def _converter(self, data_type: Any, from_type: Any, finish: _Convert | None) -> _Convert:
        coerce = self._normalizer.coerce_type

        def convert(value: Any) -> Any:
            coerced = coerce(data_type, from_type, value)
            return finish(coerced) if finish else coerced

        # Texts repeat often. Equal numbers may differ in type, so only texts are cached.
        return _Remembering(convert).__getitem__ if from_type == "text" else convert


def _converted(column: Column, converters: dict[type, _Convert | None]) -> Values:
    if len(column.types) == 1:
        [convert] = converters.values()
        assert convert is not None
        return list(map(convert, column.values))
    converters[_NONE] = None
    return [
        value if (convert := converters[type(value)]) is None else convert(value)
        for value in column.values
    ]


class _Remembering(dict[str, Any]):
    """Caches the results of a function by argument."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, argument: str) -> Any:
        result = self[argument] = self._function(argument)
        return result


def decode(value: Any) -> Any:
    """Return a value with every text decoded that dlt marked as another type.

    Lists and mappings are copied, because dlt's normalizer may have to read the records again.
    """
    if type(value) is str:
        return custom_pua_decode(value) if _FIRST_PUA <= value[:1] <= _LAST_PUA else value
    if type(value) is dict or type(value) is list:
        return custom_pua_decode_nested(deepcopy(value))
    return value
