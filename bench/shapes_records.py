"""Records for `bench.shapes`: odd keys, values of every type, objects and lists in one another."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import pendulum
from dlt.common.json import PUA_START, json
from dlt.common.libs.hexbytes import HexBytes
from dlt.common.wei import Wei

Page = list[Any]

KEYS = ["id", "Name", "name", "value", "Value", "list", "List", "x", "X", "a", "A", "b", "root"]
KEYS += ["a b", "a_b", "aB", "a__b", "a.b", "a\u25b6b", "a_", "a__", "__a", "a__b__c", "k'\"q"]
KEYS += ["camelCase", "camel_case", "long_" * 9, "long_" * 9 + "x", "1st", "_1st", "select"]
KEYS += ["\u00fcn\u00ef", "\u65e5\u672c", "tags", "lines", "geo", "meta", "created_at", "amount"]
# Names that dlt gives to other things: variants of types, and what is propagated.
KEYS += ["a__v_text", "a__v_bigint", "x__v_text", "root_prop"]

#: Keys that are dlt's own, or of which nothing is left: most of them send a record dlt's way.
ODD_KEYS = ["_dlt_load_id", "_dlt_id", "_dlt_root_id", "_dlt_parent_id", "_dlt_list_idx", "_dltId"]
ODD_KEYS += ["", " ", "!!", "__", "_", "\uf026key"]

#: Text that dlt may take for another type, or for the mark that it sets before one.
SPECIAL_TEXTS = ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05", "2024-01-02", "12:34:56", "12:30"]
SPECIAL_TEXTS += ["2024-13-45", "2024-W01-1", "20240102", "P1D", "now", "9999-12-31T23:59:59-05:00"]
SPECIAL_TEXTS += ["0001-01-01T00:00:00+05:00", "1", "", "0x1f", "0x1F00", "1e5", "nan", "inf"]
SPECIAL_TEXTS += [" 7 ", "1_000", "\u0661\u0662", "1.0", "1.5", "-0", "9" * 30, "true", "false"]
SPECIAL_TEXTS += ["yes", "True", "null", "[1, 2]", '{"a": 1}', '"x"', "YWJj"]
SPECIAL_TEXTS += ["\uf026 1", "\uf0261", "\uf0271", "\uf02d12:00:00", "\uf02ex", "\uf025x"]

_ALPHABET = "abcXYZ 019_-:./\u00e9\u65e5\U0001f600\u2028\x00\t\"'\\\uf026\uf02d"

# A number as JSON can have it and Python does not write it goes through dlt's writer as a text.
_NUMBER = re.compile(rb'"@@(.*?)@@"')


class Chance(Random):
    """Random choices, in the words of the generators."""

    def happens(self, share: float) -> bool:
        """Tell whether something happens that does in this share of all cases."""
        return self.random() < share

    def draw(self, odds: Mapping[str, tuple[float, Sequence[Any]]]) -> dict[str, Any]:
        """Draw one of the values of each name that happens to be there."""
        return {
            name: self.choice(values)
            for name, (share, values) in odds.items()
            if self.happens(share)
        }


Kind = Callable[[Chance], Any]
Fields = dict[str, "Shape"]


@dataclass(frozen=True)
class Many:
    """A list of values of one shape."""

    shape: "Shape"
    longest: int


@dataclass(frozen=True)
class Shape:
    """What stands under one key, and the shares in which it is null, missing or something else."""

    content: Kind | Fields | Many
    null: float = 0
    missing: float = 0
    other: float = 0


def text(chance: Chance) -> str:
    """Make a short text."""
    return "".join(chance.choice(_ALPHABET) for _ in range(chance.choice([0, 1, 1, 2, 3, 6])))


def _integer(chance: Chance) -> int:
    edges = [0, 1, -1, 2**31, -(2**31), 2**63 - 1, -(2**63), 1700000000]
    return chance.choice([*edges, chance.randint(-9, 9), chance.randint(0, 10**6)])


def small_integer(chance: Chance) -> int:
    """Make an integer that every type of integers holds."""
    return chance.randint(0, 100)


def _float(chance: Chance) -> float:
    edges = [0.0, -0.0, 1.0, 1.5, 3.0, float("nan"), float("inf"), -1e300, 1e-300]
    return chance.choice([*edges, 123456.789, 1700000000.25, chance.random()])


def _decimal(chance: Chance) -> Decimal:
    known = ["1.5", "-0.000001", "1E+5", "0", "1234567890.12", "3"]
    thousandths = Decimal(chance.randint(-(10**6), 10**6)) / 1000
    return chance.choice([thousandths, *map(Decimal, known)])


def _moment(chance: Chance) -> datetime:
    zones = [None, timezone.utc, timezone(timedelta(hours=5.5)), timezone(timedelta(hours=-7))]
    return datetime(
        chance.randint(1971, 2099),
        chance.randint(1, 12),
        chance.randint(1, 28),
        chance.randint(0, 23),
        chance.randint(0, 59),
        chance.randint(0, 59),
        chance.choice([0, 1, 123456, 500000]),
        chance.choice(zones),
    )


def _utc_moment(chance: Chance) -> datetime:
    return datetime(
        chance.randint(1971, 2099), 3, 31, chance.randint(0, 23), 30, tzinfo=timezone.utc
    )


def _date(chance: Chance) -> date:
    return date(chance.randint(1800, 2200), chance.randint(1, 12), chance.randint(1, 28))


def _time(chance: Chance) -> time:
    micros = chance.choice([0, 5, 1000, 999999])
    return time(chance.randint(0, 23), chance.randint(0, 59), chance.randint(0, 59), micros)


def _bytes(chance: Chance) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 3, 4]))


def _wei(chance: Chance) -> Wei:
    return Wei(chance.choice([0, 1, 10**18, chance.randint(0, 10), 2**256]))


def _uuid(chance: Chance) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128))


def _marked_text(chance: Chance) -> str:
    return chr(PUA_START + chance.randint(-1, 10)) + text(chance)


def _object_or_list(chance: Chance) -> Any:
    made = [{}, [], {"a": None}, {"b": [1, {"c": _moment(chance)}]}, [_decimal(chance)]]
    made += [{"k": _bytes(chance), "n": float("nan")}, {"u": _uuid(chance)}, [[], [{}]], [None]]
    made += [{"p": _marked_text(chance)}, {"x": _wei(chance)}]
    return chance.choice([*made, {"t": _time(chance), "d": _date(chance)}])


def _pendulum(chance: Chance) -> Any:
    day = chance.randint(1, 28)
    moment = pendulum.datetime(2024, 5, day, tz="Europe/Berlin")
    return chance.choice([moment, moment.date(), pendulum.time(chance.randint(0, 23), 3)])


def _number_as_is(chance: Chance) -> str:
    spelled = ["1.0", "1E5", "-0", "-0.0", "1e-400", "12345678901234567890", "0.1e1"]
    large = [2**63, 2**64, -(2**63) - 1, 10**30, 2**70]
    return f"@@{chance.choice(spelled if chance.happens(0.5) else large)}@@"


def _extreme_decimal(chance: Chance) -> Decimal:
    return Decimal(chance.choice(["NaN", "sNaN", "Infinity", "1.12345678901234", "1" * 35]))


def _extreme_moment(chance: Chance) -> datetime:
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
    # In UTC these two are out of what Python can hold.
    early = first.replace(tzinfo=timezone(timedelta(hours=5)))
    late = last.replace(tzinfo=timezone(timedelta(hours=-5)))
    return chance.choice([first, last, early, late, datetime(1900, 1, 1)])


COMMON_KINDS: list[Kind] = [
    _integer,
    small_integer,
    _float,
    lambda chance: chance.happens(0.5),
    text,
    text,
    lambda chance: chance.choice(SPECIAL_TEXTS),
    _decimal,
    _moment,
    _utc_moment,
    lambda chance: _moment(chance).isoformat(),
    _date,
    _time,
    _bytes,
    lambda chance: None,
    _object_or_list,
]
RARE_KINDS: list[Kind] = [
    _pendulum,
    lambda chance: HexBytes(chance.randbytes(1)),
    _wei,
    _uuid,
    _number_as_is,
    _marked_text,
]
#: Values that mostly end in an error.
EXTREME_KINDS: list[Kind] = [_extreme_decimal, _extreme_moment]


@dataclass(frozen=True)
class Records:
    """Makes shapes and records of them; wild ones rarely fit the schema as it is."""

    chance: Chance
    is_wild: bool

    def key(self) -> str:
        """Make a key of a record."""
        if self.chance.happens(0.1 if self.is_wild else 0.01):
            return self.chance.choice(ODD_KEYS)
        return self.chance.choice(KEYS)

    def shape(self, depth: int) -> Shape:
        """Make a shape with at most so many levels below it."""
        chance = self.chance
        which = chance.random()
        content: Kind | Fields | Many
        if depth <= 0 or which < 0.62:
            content = self._kind()
        elif which < 0.8:
            content = self.fields(depth - 1)
        else:
            content = Many(self.shape(depth - 1), chance.choice([1, 2, 3, 3, 5]))
        shares = [0, 0, 0, 0.1, 0.3, 0.9] if self.is_wild else [0, 0, 0, 0, 0.1, 0.3, 0.5]
        return Shape(
            content,
            null=chance.choice(shares),
            missing=chance.choice(shares),
            other=chance.choice([0, 0, 0, 0, 0.03, 0.2]) if self.is_wild else 0,
        )

    def _kind(self) -> Kind:
        if self.chance.happens(0.85 if self.is_wild else 0.95):
            return self.chance.choice(COMMON_KINDS)
        return self.chance.choice(RARE_KINDS + (EXTREME_KINDS if self.is_wild else []))

    def fields(self, depth: int) -> Fields:
        """Make the shape of an object."""
        return {
            self.key(): self.shape(depth) for _ in range(self.chance.choice([1, 1, 2, 3, 4, 6]))
        }

    def changed(self, fields: Fields) -> Fields:
        """Make a shape that is a bit like another one, as that of a later page."""
        made = dict(fields)
        for _ in range(self.chance.choice([0, 1, 1, 2])):
            if self.chance.happens(0.7):
                made[self.key()] = self.shape(1)
            elif made:
                made.pop(self.chance.choice(list(made)))
        return made

    def value(self, shape: Shape) -> Any:
        """Make a value of a shape."""
        if self.chance.happens(shape.null):
            return None
        if self.chance.happens(shape.other):
            return Records(self.chance, is_wild=False).value(self.shape(1))
        if isinstance(shape.content, dict):
            return self.record(shape.content)
        if isinstance(shape.content, Many):
            length = self.chance.randint(0, shape.content.longest)
            return [self.value(shape.content.shape) for _ in range(length)]
        return shape.content(self.chance)

    def record(self, fields: Fields) -> dict[str, Any]:
        """Make an object, now and then with its keys in another order."""
        items = [
            (key, self.value(shape))
            for key, shape in fields.items()
            if not self.chance.happens(shape.missing)
        ]
        if self.chance.happens(0.05):
            self.chance.shuffle(items)
        return dict(items)

    def page(self, fields: Fields, length: int) -> Page:
        """Make a page, now and then with something new in the middle of it."""
        page: Page = [self.record(fields) for _ in range(length)]
        if page and self.chance.happens(0.15):
            key, shape = self.key(), self.shape(1)
            for record in page[self.chance.randrange(length) :]:
                record[key] = self.value(shape)
        if page and self.is_wild and self.chance.happens(0.05):
            strangers: list[Any] = [1, "x", None, [1], [{"a": 1}], {}]
            page.insert(self.chance.randrange(length), self.chance.choice(strangers))
        return page


def typed_lines(pages: Sequence[Page]) -> bytes:
    """Write pages as dlt's extract does."""
    lines = b"".join(json.typed_dumpb(page) + b"\n" for page in pages)
    return _NUMBER.sub(rb"\1", lines)
