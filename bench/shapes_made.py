"""Examples for `bench.shapes`: each seed gives a schema, settings, and records to load."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table

from bench.shapes_records import Chance, Fields, Page, Records, Shape, small_integer, text

#: The files of one package, in their order: the root table and the pages of each.
Files = list[tuple[str, list[Page]]]

NAMINGS = ["snake_case"] * 7 + ["direct", "sql_cs_v1", "sql_ci_v1", "duck_case"]
DATA_TYPES = ["text", "bigint", "double", "bool", "timestamp", "json", "decimal", "binary", "date"]
DATA_TYPES += ["time", "wei"]
DETECTIONS = ["timestamp", "iso_timestamp", "iso_date", "large_integer", "hexbytes_to_text"]
DETECTIONS += ["wei_to_double"]
COLUMNS = ["id", "name", "a_b", "aB", "a", "x", "value", "tags", "lines", "geo", "meta", "a__b"]
COLUMNS += ["camel_case", "created_at", "amount"]
#: Columns that dlt adds by itself, or makes of what is nested or has another type.
ODD_COLUMNS = ["_dlt_load_id", "_dlt_id", "geo__x", "list", "a__v_text"]
NESTED_TABLES = ["root__tags", "root__lines", "root__list", "root__a", "root__tags__list"]
NESTED_TABLES += ["root__lines__tags"]
#: A root table may have the name of one that is nested in another.
OTHER_ROOTS = ["Other", "root__lines", "root__tags", "other_root"]

PROPAGATIONS: list[dict[str, Any]] = [
    {"root": {"_dlt_id": "_dlt_root_id"}},
    {"root": {"_dlt_load_id": "_load"}},
    {"root": {"id": "root_prop"}},
    {"root": {"_dlt_id": "value"}},
    {"tables": {"root": {"name": "root_prop", "_dlt_id": "_dlt_root_id"}}},
    {"tables": {"root__lines": {"_dlt_id": "line_prop"}}},
    {"tables": {"root__lines": {"_dlt_parent_id": "pp", "_dlt_list_idx": "li"}}},
]
CONTRACTS: list[Any] = [
    "freeze",
    "evolve",
    {"columns": "discard_value"},
    {"data_type": "discard_row"},
    {"tables": "discard_row"},
]


@dataclass(frozen=True)
class Example:
    """One schema and its settings, and the packages that are normalized one after the other.

    Attributes:
        capabilities: What is not as the destination has it.
        environment: Settings of dlt's writers, by the names of their variables.
        normalizers: Settings of dlt's normalizers, as a schema has them.
        settings: Settings of the schema.
        roots: Hints of the root tables.
        nested: Hints of nested tables.
        slow_records: Records that are not taken by column once there is something new among them;
            few, so that small pages are taken by column, too, or None for as many as there are.
        misses: Pages in a row of which little is taken by column before no more is tried.
    """

    destination: str
    timezone: str | None
    capabilities: dict[str, Any]
    environment: dict[str, str]
    normalizers: dict[str, Any]
    settings: dict[str, Any]
    roots: dict[str, dict[str, Any]]
    nested: dict[str, dict[str, Any]]
    loads: list[Files]
    slow_records: int | None
    misses: int

    @property
    def is_cut_by_bytes(self) -> bool:
        """Whether the size of a file decides where it ends."""
        return (
            "DATA_WRITER__FILE_MAX_BYTES" in self.environment
            or "recommended_file_size" in self.capabilities
        )

    def make_schema(self) -> Schema:
        """Make the schema as a pipeline would have it stored."""
        normalizers: Any = deepcopy(self.normalizers)
        schema = Schema("shapes", normalizers=normalizers)
        for name, hints in {**self.roots, **self.nested}.items():
            table: Any = new_table(name, parent_table_name=hints.get("parent", ""))
            table.update(deepcopy(hints))
            schema.update_table(table)
        settings = deepcopy(self.settings)
        schema.merge_hints(settings.pop("default_hints", {}))
        stored: Any = deepcopy(schema.to_dict())
        stored["settings"].update(settings)
        return Schema.from_stored_schema(stored)


def make_example(seed: int) -> Example:
    """Make the example of a seed."""
    chance = Chance(seed)
    is_wild = chance.happens(0.25)
    is_big = not is_wild and chance.happens(0.03)
    roots = {"root": _root_table(chance, is_wild)}
    if chance.happens(0.25):
        roots[chance.choice(OTHER_ROOTS)] = _root_table(chance, is_wild)
    slow_records = None if is_big or chance.happens(0.1) else chance.choice([1, 1, 2, 4])
    return Example(
        destination=chance.choice(["duckdb", "duckdb", "filesystem", "postgres"]),
        timezone=chance.choice([None] * 6 + ["Europe/Berlin", "Asia/Kolkata"]),
        capabilities=_capabilities(chance, is_wild),
        environment=_environment(chance),
        normalizers=_normalizers(chance),
        settings=_settings(chance),
        roots=roots,
        nested=_nested_tables(chance, is_wild, roots) if chance.happens(0.2) else {},
        loads=_loads(
            Records(chance, is_wild), roots, [60, 200] if is_big else [0, 1, 2, 5, 12, 30]
        ),
        slow_records=slow_records,
        misses=chance.choice([3, 3, 1000] if is_big else [1, 3, 3, 1000, 1000, 1000]),
    )


def _capabilities(chance: Chance, is_wild: bool) -> dict[str, Any]:
    decimals = [(38, 18), (18, 4), (38, 2)] if is_wild else [(38, 18), (18, 4), (76, 20), (76, 30)]
    made = chance.draw(
        {
            "max_column_identifier_length": (0.3, [20, 40, 63]),
            "max_identifier_length": (0.2, [24, 40, 63]),
            "decimal_precision": (0.15, decimals),
            "timestamp_precision": (0.15, [0, 3, 6, 6, 6, 9] if is_wild else [3, 6]),
            "supports_nested_types": (0.1, [True]),
            "recommended_file_size": (0.05, [1, 2000, 5000]),
        }
    )
    if chance.happens(0.23):
        made[chance.choice(["supports_tz_aware_datetime", "supports_naive_datetime"])] = False
    return made


def _environment(chance: Chance) -> dict[str, str]:
    return chance.draw(
        {
            "DATA_WRITER__BUFFER_MAX_ITEMS": (0.12, ["1", "3", "10"]),
            "DATA_WRITER__FILE_MAX_ITEMS": (0.08, ["1", "4", "20"]),
            "DATA_WRITER__FILE_MAX_BYTES": (0.06, ["1", "3000"]),
            "DATA_WRITER__TIMESTAMP_TIMEZONE": (0.05, ["Asia/Kolkata", "Europe/Berlin"]),
            "DATA_WRITER__ROW_GROUP_SIZE": (0.04, ["2"]),
        }
    )


def _normalizers(chance: Chance) -> dict[str, Any]:
    json: dict[str, Any] = {"module": "dlt.common.normalizers.json.relational"}
    config = chance.draw(
        {
            "max_nesting": (0.1, range(4)),
            "root_key_propagation": (0.1, [True, False]),
            "propagation": (0.12, PROPAGATIONS),
        }
    )
    if config:
        json["config"] = config
    return {
        "names": f"dlt.common.normalizers.naming.{chance.choice(NAMINGS)}",
        "json": json,
        "use_break_path_on_normalize": not chance.happens(0.25),
    }


def _settings(chance: Chance) -> dict[str, Any]:
    patterns = ["re:^a", "id", "re:_at$", "value", "re:.*", "re:tags|lines|geo"]
    hints = ["not_null", "unique", "primary_key", "partition"]
    return chance.draw(
        {
            "detections": (0.25, [chance.sample(DETECTIONS, chance.randint(1, 4))]),
            "preferred_types": (0.15, [{chance.choice(patterns): chance.choice(DATA_TYPES)}]),
            "default_hints": (
                0.08,
                [{chance.choice(hints): [chance.choice(["re:^a", "id", "name", "x"])]}],
            ),
            "schema_contract": (0.06, CONTRACTS),
        }
    )


def _columns(
    chance: Chance, is_wild: bool, names: Sequence[str], least: int, most: int
) -> dict[str, dict[str, Any]]:
    chosen = chance.sample(names, chance.randint(least, most))
    return {name: _column(chance, is_wild, name) for name in chosen}


def _column(chance: Chance, is_wild: bool, name: str) -> dict[str, Any]:
    column = chance.draw(
        {
            "data_type": (0.8, DATA_TYPES),
            "nullable": (0.12, [True, True, True, False]),
            "timezone": (0.25, [True, False]),
            "description": (0.05, ["d"]),
        }
    )
    precisions, scales = [38, 64], [9, 12]
    if is_wild:
        precisions, scales = [0, 3, 6, 8, 9, 16, 32, 64], [0, 2, 9]
    elif column.get("data_type") in ("timestamp", "time"):
        precisions = [3, 6]
    column.update(chance.draw({"precision": (0.15, precisions), "scale": (0.1, scales)}))
    if chance.happens(0.08):
        flags = ["unique", "sort", "x-mine", "hard_delete", "partition", "cluster"]
        column[chance.choice(flags)] = True
    return {"name": name, **column}


def _root_table(chance: Chance, is_wild: bool) -> dict[str, Any]:
    table: dict[str, Any] = {"columns": {}}
    if chance.happens(0.5 if is_wild else 0.25):
        names = COLUMNS + (ODD_COLUMNS if is_wild else [])
        table["columns"] = _columns(chance, is_wild, names, 1, 4)
    normalizer = chance.draw(
        {"max_nesting": (0.2, range(4)), "evolve-columns-once": (0.1, [True])},
    )
    if normalizer:
        table["x-normalizer"] = normalizer
    if chance.happens(0.35):
        table.update(_disposition(chance))
    if table.get("write_disposition") == "merge" and chance.happens(0.8):
        name = chance.choice(["id", "name", "a_b"])
        key = table["columns"].setdefault(name, {"name": name})
        key.update(primary_key=True, **chance.draw({"nullable": (0.3, [False])}))
    if chance.happens(0.15 if is_wild else 0.06):
        table["schema_contract"] = _contract(chance)
    return table


def _disposition(chance: Chance) -> dict[str, Any]:
    chosen = chance.choice(["merge"] * 3 + ["replace", "replace", "append", "strategy", "strategy"])
    if chosen == "strategy":
        strategy = chance.choice(["upsert", "scd2", "scd2", "insert-only"])
        return {"write_disposition": "merge", "x-merge-strategy": strategy}
    return {"write_disposition": chosen}


def _contract(chance: Chance) -> dict[str, str]:
    entities = chance.sample(["tables", "columns", "data_type"], chance.randint(1, 3))
    modes = ["discard_row", "discard_value", "freeze", "evolve"]
    # A table has no values that could go without it.
    return {
        entity: chance.choice([m for m in modes if (entity, m) != ("tables", "discard_value")])
        for entity in entities
    }


def _nested_tables(
    chance: Chance, is_wild: bool, roots: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for name in chance.sample(NESTED_TABLES, chance.randint(1, 2)):
        parent = name.rpartition("__")[0]
        if name in roots or parent not in {"root", *made}:
            continue
        names = ["value", "a", "id", "x", "_dlt_id", "_dlt_parent_id"]
        made[name] = {"columns": _columns(chance, is_wild, names, 0, 2)}
        # Without a parent, the nested rows come into a table of another resource.
        if not chance.happens(0.15):
            made[name]["parent"] = parent
    return made


def _loads(
    records: Records, roots: Mapping[str, dict[str, Any]], lengths: Sequence[int]
) -> list[Files]:
    chance = records.chance
    shapes = {root: _root_fields(records, hints) for root, hints in roots.items()}
    if chance.happens(0.5):
        shapes["root"]["id"] = Shape(small_integer)
    loads = []
    for _load in range(chance.choice([1, 2, 2, 3])):
        files: Files = []
        for root in roots:
            for _file in range(chance.choice([1, 1, 1, 2])):
                pages = []
                for _page in range(chance.choice([1, 1, 2, 3])):
                    pages.append(records.page(shapes[root], chance.choice(lengths)))
                    if chance.happens(0.15):
                        shapes[root] = records.changed(shapes[root])
                files.append((root, pages))
            if chance.happens(0.4):
                shapes[root] = records.changed(shapes[root])
        if chance.happens(0.3):
            chance.shuffle(files)
        loads.append(files)
    return loads


def _root_fields(records: Records, hints: Mapping[str, Any]) -> Fields:
    chance = records.chance
    fields = records.fields(chance.choice([1, 2, 2, 3]))
    for name, column in hints["columns"].items():
        # A key that is null or missing ends in an error, most of the time.
        if column.get("primary_key") and chance.happens(0.9):
            fields[name] = Shape(chance.choice([small_integer, text]))
    return fields
