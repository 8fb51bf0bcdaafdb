"""The choices that the engine makes for speed; dlt's own settings go before each of them."""

from dataclasses import dataclass
from typing import Any

from loadsmith.engine.destinations import configured_file_format, own_credentials
from loadsmith.engine.dlt_hooks import FILE_BYTES
from loadsmith.engine.normalizing import bytes_worth_sharing
from loadsmith.model import LoadDefinition, RunOptions, SourceReference


@dataclass(frozen=True)
class Setting:
    """A choice, its value, and who made it: `loadsmith`, `dlt` or `you`."""

    name: str
    value: str
    origin: str


def effective_settings(definition: LoadDefinition) -> list[Setting]:
    """List what a run of `definition` would use, and who chose it. Needs dlt, no connection."""
    import dlt

    from loadsmith.engine.destinations import make_destination, traits

    found: list[Setting] = []
    options = definition.options.params
    by_column = definition.options.normalizer == "arrow"
    if definition.destination is not None:
        destination = make_destination(definition.destination)
        found_traits = traits(destination)
        own = options.get("loader_file_format")
        configured = configured_file_format(definition.destination.name)
        if own or configured:
            found.append(Setting("loader_file_format", str(own or configured), "you"))
        else:
            found.append(
                Setting("loader_file_format", str(found_traits.loader_file_format), "loadsmith")
            )
        found.append(Setting("single_writer", str(found_traits.single_writer).lower(), "dlt"))
        if found_traits.destination_type == "duckdb":
            found.append(_memory_limit(destination))
    for name, ours in (
        (
            "normalize.workers",
            f"1, or one a core where others take {bytes_worth_sharing(by_column):,} bytes",
        ),
        ("data_writer.disable_compression", "false, extracted files at gzip's level 1"),
        ("data_writer.file_max_bytes", f"{FILE_BYTES:,} for extracted records"),
        ("load.workers", None),
        ("data_writer.file_max_items", None),
        ("data_writer.buffer_max_items", None),
    ):
        configured = dlt.config.get(name)
        if configured is not None:
            found.append(Setting(name, str(configured), "you"))
        elif ours is not None:
            found.append(Setting(name, ours, "loadsmith"))
        else:
            found.append(Setting(name, "dlt's default", "dlt"))
    if isinstance(definition.source, SourceReference):
        found += _sql_settings(definition.source)
    defaults = RunOptions()
    for name in ("normalizer", "on_error"):
        chosen = getattr(definition.options, name)
        origin = "loadsmith" if chosen == getattr(defaults, name) else "you"
        found.append(Setting(name, chosen, origin))
    return found


def _sql_settings(source: SourceReference) -> list[Setting]:
    """List how a database is read, where the source is one; nothing is asked of it."""
    from loadsmith.engine.sources import configured_for_sql, is_sql_database, with_defaults

    if not is_sql_database(source):
        return []
    params = with_defaults(source)
    page = (params.get("backend_kwargs") or {}).get("batch_size")
    found = []
    for name, ours in (("backend", params.get("backend")), ("chunk_size", page)):
        own = source.params.get(name) or configured_for_sql(name)
        value, origin = (own, "you") if own else (ours, "loadsmith") if ours else (None, "dlt")
        told = "dlt's default" if value is None else str(value)
        found.append(Setting(f"sql_database.{name}", told, origin))
    return found


def _memory_limit(destination: Any) -> Setting:
    from loadsmith.engine.destinations import default_limit, limit_of_user

    name = "duckdb.memory_limit"
    own = limit_of_user(own_credentials(destination))
    return Setting(name, own, "you") if own else Setting(name, f"{default_limit():,}", "loadsmith")
