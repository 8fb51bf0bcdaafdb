"""List the settings that a run uses, and who chose them; dlt's settings always win."""

from dataclasses import dataclass
from typing import Any

from loadsmith.engine.destinations import configured_file_format, own_credentials
from loadsmith.engine.dlt_hooks import FILE_BYTES, differences, is_proven
from loadsmith.engine.normalizing import bytes_worth_sharing
from loadsmith.engine.secrets import secrets_in_environment
from loadsmith.model import LoadDefinition, RunOptions, SourceReference


@dataclass(frozen=True)
class Setting:
    """A setting, its value, and who chose it: `loadsmith`, `dlt` or `you`."""

    name: str
    value: str
    origin: str


def effective_settings(definition: LoadDefinition) -> list[Setting]:
    """List what a run of `definition` would use. Needs dlt, but no connection."""
    import dlt

    from loadsmith.engine.destinations import make_destination, traits

    options = definition.options.params
    settings: list[Setting] = []
    by_column = definition.options.normalizer == "arrow" and is_proven("records by column")
    destination_type = None
    if definition.destination is not None:
        destination = make_destination(definition.destination)
        destination_traits = traits(destination)
        destination_type = destination_traits.destination_type
        asked = options.get("loader_file_format")
        configured = configured_file_format(definition.destination.name)
        chosen = asked or configured
        settings += [
            _setting("loader_file_format", chosen, destination_traits.loader_file_format),
            Setting("single_writer", str(destination_traits.single_writer).lower(), "dlt"),
        ]
        if destination_traits.destination_type == "duckdb":
            settings.append(_memory_limit(destination))
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
        settings.append(_setting(name, configured, ours))
    if isinstance(definition.source, SourceReference):
        settings += _sql_settings(definition)
    defaults = RunOptions()
    for name in ("normalizer", "on_error"):
        chosen = getattr(definition.options, name)
        origin = "loadsmith" if chosen == getattr(defaults, name) else "you"
        settings.append(Setting(name, chosen, origin))
        if chosen == "arrow" and not by_column:
            settings[-1] = Setting(name, f"dlt (dlt {dlt.__version__} was not tested)", "loadsmith")
    settings += [
        Setting(f"dlt {dlt.__version__}", str(difference), "dlt")
        for difference in differences(destination_type)
    ]
    return settings


def _setting(name: str, asked: object, ours: object) -> Setting:
    """Return a setting with the value that a user asked for, else with ours, else with dlt's."""
    if asked is not None:
        return Setting(name, str(asked), "you")
    return (
        Setting(name, "dlt's default", "dlt")
        if ours is None
        else Setting(name, str(ours), "loadsmith")
    )


def _sql_settings(definition: LoadDefinition) -> list[Setting]:
    """List how a database is read if the source is a database; without a connection."""
    from loadsmith.engine.normalizing import ROW_GROUP
    from loadsmith.engine.sources import argument_of, is_sql_database, listed_ways

    source = definition.source
    if not isinstance(source, SourceReference) or not is_sql_database(source):
        return []
    pipeline_name = getattr(definition.pipeline, "pipeline_name", None)
    # Of the address it is only looked at what database it names.
    with secrets_in_environment(source.secrets_files):
        ways = list(listed_ways(definition, source, pipeline_name))
        chunk_size = argument_of(source, "chunk_size", pipeline_name)
    found = [
        Setting("sql_database.backend" + (f"[{table}]" if table else ""), way, origin)
        for table, way, origin in ways
    ]
    by_adbc = any(way.startswith("adbc") for _, way, _ in ways)
    page = _setting(
        "sql_database.chunk_size",
        chunk_size or None,
        f"{ROW_GROUP} where it is adbc" if by_adbc else None,
    )
    return [*found, page]


def _memory_limit(destination: Any) -> Setting:
    from loadsmith.engine.destinations import default_limit, limit_of_user

    name = "duckdb.memory_limit"
    asked = limit_of_user(own_credentials(destination))
    return _setting(name, asked, f"{default_limit():,}")
