"""Decide which resources of a run replace what their partition holds, and tell dlt so.

A resource is sliced if what it yields depends on the partition. The partition of a sliced resource
is replaced: its rows are appended as a package, which replaces the packages before it (see
`reload`). All other resources are loaded as dlt does.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadsmith.engine.dlt_hooks import can_merge, feeding, incremental_of
from loadsmith.engine.once.entry import Replaced
from loadsmith.engine.once.reload import PARTITION_HINT
from loadsmith.engine.snapshots import root_tables_of
from loadsmith.engine.sources import feeds_of, is_utc
from loadsmith.engine.workspace import OWNER_KEY
from loadsmith.errors import ResolveError, one_of
from loadsmith.model import RELOADS, LoadDefinition, Partition, RunRequest

#: Merge strategies after which each row of a package carries its load id.
_REPLACING_MERGES = ("delete-insert", "upsert")

#: What is in the state of a resource beside what its code keeps there.
_KEPT_KEYS = ("incremental", OWNER_KEY)


@dataclass(frozen=True)
class Ways:
    """How the resources of one run are loaded.

    Attributes:
        definition: The load.
        request: What the run asks.
        pipeline: The live pipeline.
        partition: The partition of the run.
        arguments: Arguments of dlt's `run`; `write_disposition` wins over the resource's own.
        zones: Says the time zone of a resource's cursor, where the load names one.
    """

    definition: LoadDefinition
    request: RunRequest
    pipeline: Any
    partition: Partition
    arguments: Mapping[str, Any]
    zones: Callable[[str], str | None]

    def replaced(self, source: Any, names: Sequence[str]) -> list[Replaced]:
        """Return the resources whose partition the run replaces.

        Raises:
            ResolveError: What is asked cannot be done with the resource.
        """
        if not self.partition:
            return []
        tables, feeds = self.tables_of(source, names), feeds_of(source)
        found = []
        for name in names:
            by_window = self._replaces_by_window(source, name, bool(feeds.moved(name)))
            if by_window is None:
                continue
            incremental = incremental_of(source.resources[name])
            window = self.request.window
            if window is not None and not is_utc(self.zones(name), window):
                # The destination has values that had no time zone as if they were in UTC.
                incremental = None
            found.append(
                Replaced(
                    name=name,
                    table=tables.get(name),
                    cursor_path=None if incremental is None else str(incremental.cursor_path),
                    by_window=by_window,
                )
            )
        return found

    def tables_of(self, source: Any, names: Iterable[str]) -> dict[str, str]:
        """Return the root table of each resource, unless its rows choose the table."""
        asked = self.arguments.get("table_name")
        if isinstance(asked, str):
            return dict.fromkeys(names, asked)
        return root_tables_of(source, names)

    def apply(self, source: Any, names: Sequence[str], replaced: Sequence[Replaced]) -> None:
        """Hint the resources of a run so that dlt appends what is replaced by package."""
        by_name = {resource.name: resource for resource in replaced}
        sharing = names_by_table(self.tables_of(source, names))
        asked = self.arguments.get("write_disposition")
        for name in names:
            resource = source.resources[name]
            own = by_name.get(name)
            if own is None:
                if self._has_hint(source, name):
                    resource.apply_hints(additional_table_hints={PARTITION_HINT: False})
                if asked is not None and replaced:
                    resource.apply_hints(write_disposition=asked)
                continue
            disposition = self.disposition_of(resource)
            if disposition == "replace":
                # dlt forgets the state of a resource that it replaces.
                self._reset(source.name, name)
            resource.apply_hints(
                write_disposition=asked if disposition == "merge" else "append",
                additional_table_hints={
                    PARTITION_HINT: {**asdict(own), "sharing": sharing.get(own.table, [name])}
                },
            )

    def disposition_of(self, resource: Any) -> str:
        """Return the write disposition in effect: dlt appends where it cannot merge."""
        disposition = self._asked_of(resource)
        if isinstance(disposition, Mapping):
            disposition = disposition.get("disposition")
        table_format = self.arguments.get("table_format") or resource.table_format
        if disposition == "merge" and not can_merge(self.pipeline, table_format):
            return "append"
        return str(disposition or "append")

    def of_partition(self, source: Any, names: Sequence[str]) -> list[str]:
        """Return the resources of which a run of a partition loads that partition alone."""
        if not self.partition:
            return []
        feeds = feeds_of(source)
        return [
            name
            for name in names
            if (cursors := bool(feeds.moved(name))) or self._is_sliced(name, has_cursor=cursors)
        ]

    def _replaces_by_window(self, source: Any, name: str, has_cursor: bool) -> bool | None:
        """Return whether rows are removed by window, not by package; None if none are."""
        options, resource = self.definition.options, source.resources[name]
        reload = self.arguments.get("reload", options.reload)
        if reload is not None:
            one_of(RELOADS, reload, f"load '{self.definition.name}', reload")
        disposition = self.disposition_of(resource)
        if reload == "append":
            return None
        if disposition == "merge":
            if reload is None:
                return None
            self._refuse_strategy(name, resource)
            return True
        if disposition not in ("append", "replace"):
            return None
        follows_slice = has_cursor and not self._keeps_to_itself(source, name)
        if not self._is_sliced(name, has_cursor=follows_slice):
            # For a window, binding the cursors warns of a resource that has none.
            if disposition == "append" and self.request.window is None and not has_cursor:
                self.request.warn(
                    f"resource '{name}' appends all of its rows for each partition, because nothing"
                    " of it depends on the partition. Set `write_disposition: replace` or"
                    " `partitioned: true`, or leave it out of the partitions."
                )
            return None
        if reload == "window":
            return True
        # What goes on from where a cursor is adds to what is there.
        goes_on = has_cursor and (self.request.window is None or not follows_slice)
        return None if disposition == "append" and goes_on else False

    def _keeps_to_itself(self, source: Any, name: str) -> bool:
        """Tell whether a cursor goes on from its own state, whatever the window of the run is."""
        return any(
            cursor.allow_external_schedulers is False
            for link in feeding(source.resources[name], source.resources)
            if (cursor := incremental_of(link)) is not None
        )

    def _is_sliced(self, name: str, *, has_cursor: bool) -> bool:
        said = self.definition.attributes_of(name).partitioned
        if said is None:
            said = self.definition.options.partitioned
        if said is not None:
            return said
        return (
            self.request.source is not None
            or self.request.arguments_hold_window
            or (self.request.window is not None and has_cursor)
        )

    def _refuse_strategy(self, name: str, resource: Any) -> None:
        asked = self._asked_of(resource)
        strategy = asked.get("strategy") if isinstance(asked, Mapping) else None
        if strategy is not None and strategy not in _REPLACING_MERGES:
            raise ResolveError(
                f"load '{self.definition.name}', resource '{name}': `reload: replace` needs the"
                f" merge strategy delete-insert or upsert, and this one has '{strategy}', which"
                " keeps rows on purpose. Remove `reload`."
            )

    def _asked_of(self, resource: Any) -> Any:
        return self.arguments.get("write_disposition", resource.write_disposition)

    def _has_hint(self, source: Any, name: str) -> bool:
        stored = self.pipeline.schemas.get(source.schema.name)
        return stored is not None and any(
            table.get("resource") == name and table.get(PARTITION_HINT)
            for table in stored.tables.values()
        )

    def forget_own_state(self, source: Any, names: Sequence[str], again: Collection[str]) -> None:
        """Forget what resources keep in dlt's state by hand, as a list of files that were read.

        A resource whose partition is loaded again would leave out what it remembers, and its rows
        that are there are replaced. Cursors of dlt's are not forgotten: those bound to the window
        do not read the state.

        Args:
            source: The live source.
            names: The resources of the run.
            again: Those of them whose partition is there.

        Raises:
            ResolveError: A state belongs to resources that are not loaded again, too.
        """
        if not again:
            return
        feeds = feeds_of(source)
        links = {link for name in again for link in feeds.chain(name)}
        with self.pipeline.managed_state() as state:
            own = state.get("sources", {}).get(source.name, {})
            states: dict[str, Any] = own.get("resources", {})
            for link in sorted(links.intersection(states)):
                if kept := {key for key in states[link] if key not in _KEPT_KEYS}:
                    fed = {name for name in names if link in feeds.chain(name)}
                    self._forget(link, states[link], kept, fed - set(again))
            if kept := own.keys() - {"resources"}:
                self._forget(source.name, own, kept, set(names) - set(again))

    def _forget(
        self, owner: str, state: Any, keys: Collection[str], others: Collection[str]
    ) -> None:
        told = (
            f"load '{self.definition.name}': '{owner}' keeps {', '.join(sorted(keys))} in its state"
        )
        if others:
            raise ResolveError(
                f"{told}, so what it yields for partition {self.partition.label}, which is loaded"
                f" already, may be a part of it, and '{min(others)}' uses that state, too. Load"
                " the resources in runs of their own, or set `reload: append`."
            )
        for key in keys:
            del state[key]
        self.request.warn(
            f"{told}. It is forgotten, because partition {self.partition.label} is loaded again"
            " and replaced as a whole"
        )

    def _reset(self, source_name: str, resource: str) -> None:
        with self.pipeline.managed_state() as state:
            kept = state.get("sources", {}).get(source_name, {}).get("resources", {})
            kept.pop(resource, None)


def names_by_table(tables: Mapping[str, str]) -> dict[str | None, list[str]]:
    """Return the resources that load into each table, sorted."""
    found: dict[str | None, list[str]] = {}
    for name in sorted(tables):
        found.setdefault(tables[name], []).append(name)
    return found
