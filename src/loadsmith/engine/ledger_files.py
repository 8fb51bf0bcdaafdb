"""The ledger as small files beside dlt's own, and the files of a dead load."""

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from loadsmith.engine._open_tables import delete_orphans, delete_rows_of_load, find_open_table
from loadsmith.engine.ledger_entry import LEDGER_TABLE, LedgerEntry

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class FileLedger:
    """The ledger as small files beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        del workspace
        self._client = client
        self._folder = client.pathlib.join(client.dataset_path, LEDGER_TABLE)

    def entries(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        found = []
        for path in self._files():
            try:
                value = json.loads(self._client.fs_client.read_text(path, encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                continue
            if value["scope"] == scope:
                load_id = value["load_id"]
                found.append(
                    LedgerEntry.from_text(
                        value["payload"],
                        load_id=load_id,
                        scope=scope,
                        committed=self.is_committed(load_id),
                    )
                )
        return sorted(found, key=lambda entry: entry.load_id)

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        folder = self._client.get_table_dir(self._client.schema.loads_table_name)
        if not self._client.fs_client.exists(folder):
            return False
        ending = f"__{load_id}.jsonl"
        return any(
            path.endswith(ending) for path in self._client.fs_client.ls(folder, detail=False)
        )

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        if not self._client.is_storage_initialized():
            # Another load may make it at the same moment.
            with contextlib.suppress(FileExistsError):
                self._client.initialize_storage()
        self._client.fs_client.makedirs(self._folder, exist_ok=True)
        for entry in entries:
            self._write(entry)

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                self._client.fs_client.rm(self._path(entry))

    def report(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        self._write(entry)

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. dlt's file names carry the load id, so the files of a package are known."""
        del wait
        removed = 0
        for table in entry.tables:
            if not table.appended:
                continue
            open_table = find_open_table(self._client, table.name)
            if open_table is None:
                removed += self._remove_files(table.name, entry.load_id)
            elif table.parent is None:
                removed += delete_rows_of_load(self._client, open_table, entry.load_id)
            else:
                # `tables` has parents first, so what hung from a removed row hangs from nothing.
                parent = find_open_table(self._client, table.parent)
                removed += delete_orphans(self._client, open_table, parent)
        return removed

    def _remove_files(self, table: str, load_id: str) -> int:
        removed = 0
        try:
            paths = self._client.list_table_files(table)
        except (DestinationUndefinedEntity, FileNotFoundError):
            # The package died before it had made the table.
            return 0
        for path in paths:
            if load_id in path.rsplit("/", 1)[-1]:
                self._client.fs_client.rm(path)
                removed += 1
        return removed

    def clear_staging(self) -> None:
        """See `Ledger`. Files are staged nowhere."""

    def _path(self, entry: LedgerEntry) -> str:
        path: str = self._client.pathlib.join(self._folder, f"{entry.load_id}.json")
        return path

    def _write(self, entry: LedgerEntry) -> None:
        value = {"load_id": entry.load_id, "scope": entry.scope, "payload": entry.to_text()}
        self._client.fs_client.write_text(self._path(entry), json.dumps(value), encoding="utf-8")

    def _files(self) -> list[str]:
        if not self._client.fs_client.exists(self._folder):
            return []
        return list(self._client.fs_client.ls(self._folder, detail=False))
