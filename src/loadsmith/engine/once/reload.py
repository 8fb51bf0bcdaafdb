"""Decide what a run of a partition replaces, so that the partition is there once.

The rows of a partition are appended as a package of their own. The transaction that marks the
package as loaded removes the packages that held the partition before. Only packages that the ledger
knows are removed. A run that could not remove exactly the rows of its partition is refused before
anything is extracted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from loadsmith.engine.once.entry import LedgerEntry, LedgerTable, Removal, Replaced
from loadsmith.errors import ResolveError, RunError
from loadsmith.model import LoadDefinition, Partition, RunRequest, defined_loads

if TYPE_CHECKING:
    from loadsmith.engine.once.ledger import Ledger
    from loadsmith.engine.workspace import Workspace

#: The hint of a table whose packages are replaced by partition; part of the package's schema.
PARTITION_HINT = "x-loadsmith-partition"


class Reload:
    """What a run of a partition replaces, from the first look to the mark of its packages.

    Attributes:
        base: The scope of the load, or of the part of it, as a whole.
        load: The name of the load of which this may be a part.
        partition: The partition of the run; it is falsy for a load as a whole.
        rows_before: Rows that the partition had by table, as the ledger has counted them.
        again: The resources whose partition, or a part of it, is loaded already.
    """

    def __init__(
        self, definition: LoadDefinition, request: RunRequest, workspace: "Workspace"
    ) -> None:
        self._definition = definition
        self._request = request
        self._workspace = workspace
        keys = request.partition_keys or (
            () if request.partition_key is None else (request.partition_key,)
        )
        part = None if definition.owns_pipeline_name else definition.name
        self.base = "/".join(filter(None, (workspace.base_name, part)))
        # An op may load the whole today and a part of it tomorrow.
        self.load = definition.whole or definition.name
        whole = None if definition.is_alone else self.load
        self._records = "/".join(filter(None, (workspace.base_name, whole)))
        self._is_narrow = request.window_is_chosen and bool(keys)
        # A window of the launchpad is no partition: it may be any part of one, or of several.
        window = None if request.window_is_chosen else request.window
        self.partition = Partition(keys=keys, window=window)
        self.rows_before: dict[str, int | None] = {}
        self.again: set[str] = set()
        self._resources: dict[str, Replaced] = {}
        self._emptied: set[str] = set()
        self._kept: set[str] = set()

    def replace(self, resources: Iterable[Replaced]) -> None:
        """Take note of the resources whose partition this run replaces."""
        self._resources = {resource.name: resource for resource in resources}

    def adopt(self, ledger: "Ledger", entries: Iterable[LedgerEntry]) -> None:
        """Take note of what packages replace that an earlier run has left."""
        self._resources |= {one.name: one for entry in entries for one in entry.replacing}
        for record, held in self._held(ledger, self._resources):
            self._count(record, held)

    @property
    def replaces(self) -> bool:
        """Whether the run replaces a partition of a resource."""
        return bool(self._resources)

    def refuse(
        self, ledger: "Ledger", *, limit: int | None, shared: Mapping[str | None, Sequence[str]]
    ) -> None:
        """Refuse a run that could not replace exactly the rows of its partition.

        Args:
            ledger: The ledger of the destination.
            limit: The limit of the run, if it has one.
            shared: Resources of the load that are not in the run, by the root table that they load
                into.

        Raises:
            ResolveError: Always with the reason, and what to do.
        """
        for resource in self._resources.values():
            if resource.by_window:
                self._refuse_window(ledger, resource, shared.get(resource.table, ()))
        for record, held in self._held(ledger, self._resources):
            there = Partition.from_dict(record.slice)
            names = ", ".join(f"'{name}'" for name in held)
            place = f"load '{self._definition.name}', resource {names}"
            label = self.partition.label
            if limit:
                raise ResolveError(
                    f"{place}: partition {label} is loaded already, and `limit` would replace all"
                    " of it by a part. Run without a limit, or set `reload: append`."
                )
            if self._is_narrow:
                raise ResolveError(
                    f"{place}: partition {label} is loaded already, and the window of this run is"
                    " not that of the partition. Run the whole partition, or set `reload: append`."
                )
            for table in _tables_of(record, held):
                for other in set(_owners(record, table.name)).difference(self._resources):
                    raise ResolveError(
                        f"{place}: the table '{table.name}' holds rows of resource '{other}',"
                        f" too, and a package is replaced as a whole. Load '{other}' in the"
                        " same run."
                    )
            bounds = self._bounds(ledger, record, held, self._resources)
            if not self.partition.contains(there) and bounds is None:
                raise ResolveError(
                    f"{place}: partition {label} came in with {there.label}, and the rows of"
                    f" {label} alone cannot be told from the others. Load that range, or set"
                    " `max_partitions_per_run: 1` before the range is loaded."
                )
            fixed = [table.name for table in _tables_of(record, held) if not table.appended]
            if fixed:
                raise ResolveError(
                    f"{place}: rows of the table '{fixed[0]}' do not say which package brought"
                    " them, so those of one partition cannot be replaced. Load the table anew"
                    " with `refresh: drop_resources`, or set `reload: append`."
                )
            rows = _root_rows(record, held)
            self._count(record, held)
            self.again.update(held)
            self._request.log(
                f"partition {label} of {names} is loaded already (package"
                f" {package_of(record)}, {'some' if rows is None else rows} rows): this run"
                " replaces it"
            )

    def removals(self, ledger: "Ledger", entry: LedgerEntry, *, is_last: bool) -> list[Removal]:
        """Return what a package replaces, as the ledger stands.

        Args:
            ledger: The ledger of the destination.
            entry: The package; its `replacing` names the resources that it replaces.
            is_last: Whether the package is the last one of the run, which also empties the
                partition of resources without rows.
        """
        if not self.partition:
            return self._voided(ledger, entry)
        replaced = {name: self._resources[name] for name in (self._emptied if is_last else ())}
        # A package that an earlier run has left says itself how it replaces.
        replaced |= {one.name: one for one in entry.replacing if one.name not in self._kept}
        if not replaced:
            return []
        found = [
            Removal(
                load_id=entry.load_id,
                tables=tuple(_tables_of(entry, [name])),
                resources=(name,),
                bounds=self._bounds(ledger, entry, [name], replaced),
                others=True,
            )
            for name in sorted(set(replaced).intersection(entry.resources))
            if replaced[name].by_window
        ]
        for record, held in self._held(ledger, replaced):
            if package_of(record) == entry.load_id:
                continue
            is_inside = self.partition.contains(Partition.from_dict(record.slice))
            found.append(
                Removal(
                    load_id=package_of(record),
                    tables=tuple(_tables_of(record, held)),
                    resources=tuple(held),
                    scope=record.scope if is_inside else None,
                    bounds=None if is_inside else self._bounds(ledger, record, held, replaced),
                )
            )
        return found

    def check_rows(
        self, entries: Sequence[LedgerEntry], *, on_empty: str | None, at_least: float | None
    ) -> None:
        """Refuse what would leave a partition without rows, or with too few.

        Args:
            entries: The packages of the run.
            on_empty: What the user has said of resources without rows; None if nothing.
            at_least: The share of the rows there that has to come.

        Raises:
            RunError: Rows are missing; nothing is removed, and nothing is loaded.
        """
        for name, resource in self._resources.items():
            before = self._rows_before_of(name)
            counts = [_rows_for(entry, resource) for entry in entries]
            # A count that nobody knows is not zero.
            after = None if None in counts else sum(count or 0 for count in counts)
            if not after and after is not None and on_empty in ("truncate", "warn"):
                self._emptied.add(name)
                continue
            if not before or after is None or (after and after >= (at_least or 0.0) * before):
                continue
            if not after and on_empty == "keep":
                self._kept.add(name)
                continue
            share = at_least or 0.0
            what = "no row" if not after else f"{after} rows"
            rule = (
                f"`guard` wants at least {share:.0%} of them"
                if after
                else "nobody said `on_empty: truncate` or `on_empty: keep`"
            )
            raise RunError(
                f"load '{self._definition.name}', load, resource '{name}': {what} came for"
                f" partition {self.partition.label}, which has {before} rows, and {rule}. Nothing"
                " was removed or loaded. Look at the source, or change the setting.",
                stage="load",
                load=self._definition.name,
                resources=[name],
                table=resource.table,
            )

    def record_of(self, entry: LedgerEntry) -> LedgerEntry | None:
        """Return the ledger's record that a package holds a partition; None if it does not."""
        if not entry.replacing or not self.partition:
            return None
        names = tuple(resource.name for resource in entry.replacing)
        return LedgerEntry(
            load_id=f"{_RECORD}{entry.load_id}",
            scope=self._unit(self.partition),
            run_id=entry.run_id,
            slice={
                **entry.slice,
                **self.partition.to_dict(),
                "load": self.load,
                "arguments": {resource.name: resource.arguments for resource in entry.replacing},
                "owners": {
                    table.name: _owners(entry, table.name) for table in _tables_of(entry, names)
                },
            },
            resources=names,
            tables=tuple(_tables_of(entry, names)),
            rows=dict(entry.rows),
            token=entry.token,
            marked=True,
        )

    def _voided(self, ledger: "Ledger", entry: LedgerEntry) -> list[Removal]:
        """Forget which packages hold partitions of resources that are loaded as a whole."""
        return [
            Removal(
                load_id=package_of(record), tables=(), resources=tuple(held), scope=record.scope
            )
            for record in ledger.entries_below(f"{self._records}/")
            if _is_record(record)
            and record.slice.get("load") in (None, self.load)
            and (held := sorted(set(entry.resources).intersection(record.resources)))
        ]

    def _refuse_window(
        self, ledger: "Ledger", resource: Replaced, others: Sequence[str] = ()
    ) -> None:
        """Refuse to remove rows by window where that would remove rows of others."""
        place = f"load '{self._definition.name}', resource '{resource.name}'"
        table, window = resource.table, self.partition.window
        if table is None or window is None or self.partition.has_dimensions:
            raise ResolveError(
                f"{place}: `reload` by window needs a table of one name, and partitions of one"
                " dimension that are windows of time. Remove `reload`."
            )
        if resource.cursor_path is None:
            raise ResolveError(
                f"{place}: `reload` by window needs a cursor whose values have a time zone, or are"
                " in UTC. Remove `reload`."
            )
        if others:
            raise ResolveError(
                f"{place}: the table '{table}' holds rows of resource '{others[0]}', too, and"
                " `reload` by window would remove them. Load both in the same run."
            )
        if ledger.has_table(table) and (
            ledger.bounds_of(table, resource.cursor_path, window) is None
        ):
            raise ResolveError(
                f"{place}: the cursor '{resource.cursor_path}' is no column of times or days that"
                " the destination can compare, so `reload` by window is not possible. Remove it."
            )
        for entry in ledger.entries_below(""):
            load = entry.slice.get("load")
            if load not in (None, self._definition.name) and any(
                one.name == table for one in entry.tables
            ):
                raise ResolveError(
                    f"{place}: the load '{load}' fills the table '{table}', too, and `reload` by"
                    " window would remove its rows. Remove `reload`."
                )

    def _held(
        self, ledger: "Ledger", replaced: Mapping[str, Replaced]
    ) -> Iterator[tuple[LedgerEntry, list[str]]]:
        """Yield the records of packages, each with those of the resources that it holds."""
        by_package = {name for name, resource in replaced.items() if not resource.by_window}
        for record in self.records(ledger) if by_package else ():
            held = [
                name
                for name in sorted(by_package.intersection(record.resources))
                if self._is_own(record, replaced[name])
            ]
            if held:
                yield record, held

    def _is_own(self, record: LedgerEntry, resource: Replaced) -> bool:
        """Tell whether a record of the slice is of this load; another may have its pipeline name.

        A load that was renamed calls its source with the same arguments.

        Raises:
            ResolveError: Nobody can know.
        """
        load = record.slice.get("load")
        if load in (None, self.load):
            return True
        theirs = record.slice.get("arguments", {}).get(resource.name)
        if theirs is not None and resource.arguments is not None:
            return bool(theirs == resource.arguments)
        if load in defined_loads():
            return False
        raise ResolveError(
            f"load '{self._definition.name}', resource '{resource.name}': partition"
            f" {self.partition.label} is loaded already by the load '{load}', which uses the same"
            " pipeline name, and whether that is this load under its former name is not known."
            " Give each load a pipeline name of its own, or set `reload: append`."
        )

    def _count(self, record: LedgerEntry, names: Sequence[str]) -> None:
        for table in _tables_of(record, names):
            known, more = self.rows_before.get(table.name, 0), record.rows.get(table.name, 0)
            self.rows_before[table.name] = None if known is None or more is None else known + more

    def records(self, ledger: "Ledger") -> list[LedgerEntry]:
        """Return the records of packages that hold rows of the partition, or of a part of it."""
        if not self.partition:
            return []
        if self.partition.keys:
            scopes = [self._unit(Partition(keys=(key,))) for key in self.partition.keys]
            found = ledger.entries(*scopes, f"{self._records}/%/=")
        else:
            found = [
                entry for entry in ledger.entries_below(f"{self._records}/") if _is_record(entry)
            ]
        return [
            record
            for record in found
            if self.partition.overlaps(Partition.from_dict(record.slice))
            and ledger.is_committed(package_of(record))
        ]

    def _rows_before_of(self, name: str) -> int | None:
        resource = self._resources[name]
        return self.rows_before.get(resource.table or name)

    def _bounds(
        self,
        ledger: "Ledger",
        record: LedgerEntry,
        names: Sequence[str],
        replaced: Mapping[str, Replaced],
    ) -> tuple[str, str, str] | None:
        """Return the part of a package's root tables that the window is; None if SQL cannot."""
        window = self.partition.window
        roots = [table.name for table in _tables_of(record, names) if table.parent is None]
        paths = {replaced[name].cursor_path for name in names}
        if window is None or len(roots) != 1 or len(paths) != 1:
            return None
        (path,) = paths
        return None if path is None else ledger.bounds_of(roots[0], path, window)

    def _unit(self, partition: Partition) -> str:
        if len(partition.keys) != 1:
            return f"{self._records}/%/="
        key = partition.keys[0].replace("%", "%25").replace("/", "%2F")
        return f"{self._records}/{key}/="


#: What the load id of a record begins with, so that it is none of a package.
_RECORD = "partition-"


def _is_record(entry: LedgerEntry) -> bool:
    return entry.load_id.startswith(_RECORD)


def package_of(record: LedgerEntry) -> str:
    """Return the load id of the package that a record is about."""
    return record.load_id.removeprefix(_RECORD)


def _tables_of(entry: LedgerEntry, resources: Iterable[str]) -> list[LedgerTable]:
    names = set(resources)
    return [table for table in entry.tables if not names.isdisjoint(_owners(entry, table.name))]


def _owners(entry: LedgerEntry, table: str) -> Sequence[str]:
    """Return the resources whose rows a package has in a table."""
    owners: Sequence[str] = entry.slice.get("owners", {}).get(table, ())
    return owners


def _rows_for(entry: LedgerEntry, resource: Replaced) -> int | None:
    """Return the rows that came for a resource, or for the table that it shares with others."""
    if resource.table is None:
        return _root_rows(entry, [resource.name])
    return entry.rows.get(resource.table, 0)


def _root_rows(entry: LedgerEntry, resources: Iterable[str]) -> int | None:
    counts = [
        entry.rows.get(table.name, 0)
        for table in _tables_of(entry, resources)
        if table.parent is None
    ]
    return None if None in counts else sum(count or 0 for count in counts)


def finish_replacing(ledger: "Ledger", entry: LedgerEntry) -> LedgerEntry:
    """Remove what a marked package replaces; return the entry, which says how much that was.

    Doing it again removes nothing more.
    """
    replaced: dict[str, int] = dict(entry.replaced)
    for value in entry.replaces:
        removal = Removal.from_dict(value)
        for table, count in ledger.remove(removal).items():
            replaced[table] = replaced.get(table, 0) + count
        if removal.scope is None:
            continue
        for record in ledger.entries(removal.scope):
            if package_of(record) != removal.load_id:
                continue
            left = tuple(name for name in record.resources if name not in removal.resources)
            if left:
                tables = tuple(_tables_of(record, left))
                ledger.change(replace(record, resources=left, tables=tables))
            else:
                ledger.strike([record])
    return replace(entry, replaces=(), replaced=replaced)
