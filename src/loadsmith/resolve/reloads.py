"""Look at a load with partitions for what its runs would refuse or warn of."""

from collections.abc import Iterator, Mapping

from loadsmith.model import LoadDefinition, LoadSnapshot

#: Merge strategies that keep rows on purpose.
_KEEPING = ("scd2", "insert-only", "cdc")

_NO_WINDOWS = ("static", "dynamic", "multi")


def reload_problems(definition: LoadDefinition) -> Iterator[str]:
    """Yield the settings of a load with partitions that every run of a single one would refuse."""
    options = definition.options
    if options.params.get("refresh"):
        yield (
            "run_params.refresh: `refresh` drops what other partitions hold, so a run of one"
            " partition is refused. Ask for it in the run that loads all partitions."
        )
    disposition = options.params.get("write_disposition")
    strategy = disposition.get("strategy") if isinstance(disposition, Mapping) else None
    if options.reload == "replace" and strategy in _KEEPING:
        yield (
            f"reload: the merge strategy '{strategy}' keeps rows on purpose, and `reload: replace`"
            " would remove them. Remove `reload`, or choose delete-insert or upsert."
        )
    kind = getattr(definition.partitions, "kind", "")
    if options.reload == "window" and kind.lower() in _NO_WINDOWS:
        yield (
            f"reload: `window` needs partitions that are windows of time, and these are {kind}."
            " Remove `reload`."
        )


def reload_warnings(definition: LoadDefinition, snapshot: LoadSnapshot | None) -> Iterator[str]:
    """Yield what loading a partition again may surprise with.

    Args:
        definition: A load with partitions.
        snapshot: What is known of its resources; None if nothing is.
    """
    options = definition.options
    if options.limit:
        yield (
            "limit: a partition that was loaded with a limit is not loaded again with it, because a"
            " part would replace all of it. Remove `limit`, or set `reload: append`."
        )
    if options.reload is not None:
        return
    asked = options.params.get("write_disposition")
    for resource in snapshot.resources if snapshot else ():
        tables = resource.root_tables
        known = [resource.write_disposition, *(table.write_disposition for table in tables)]
        disposition = asked or next(filter(None, known), "append")
        keys = (
            options.params.get("primary_key")
            or resource.primary_key
            or any(table.primary_key for table in tables)
        )
        is_sliced = definition.attributes_of(resource.name).partitioned is not False
        if disposition == "append" and keys and is_sliced:
            yield (
                f"resource '{resource.name}' appends rows that have a primary key, and loading a"
                " partition again replaces its rows. Is it a log of changes? Then set"
                " `reload: append`."
            )
