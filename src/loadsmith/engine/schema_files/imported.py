"""Read the schema files that dlt imports, and name file and line of a mistake.

dlt reads them during a run: the files of `import_schema_path`, which users edit, and the file
beside a source. Its errors name no file.
"""

import contextlib
import copy
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from loadsmith.documents import read_whole
from loadsmith.engine.schema_files.text import decode, parse_schema, place_in
from loadsmith.errors import LoadsmithError, ResolveError

_REMEDY = "Correct it, or remove the file: dlt writes it again."

_REMEDY_BESIDE = (
    "dlt reads the file, for it has the name of the source beside it. Correct it, or write it again"
    " with `loadsmith schema`."
)

#: Characters that are shown of a message of dlt.
_LONGEST = 300


#: The key of what dlt has seen of a table or column.
_SEEN = "x-normalizer"

#: Steps of a path in a message of dlt, such as `./tables[orders]/columns[id]`.
_STEPS = re.compile(r"/([^/\[\]]+)|\[([^\]]*)\]")


class ImportSchemas:
    """Reads the schema files of a folder, each as often as dlt asks for it.

    Args:
        folder: The folder, such as the `import_schema_path` of a pipeline.
        remedy: What the user can do about a wrong file.
    """

    def __init__(self, folder: str, *, remedy: str = _REMEDY) -> None:
        self._folder = Path(folder)
        self._remedy = remedy
        self._right: dict[str, str] = {}

    def read(self, file: str, name: str) -> dict[str, Any]:
        """Return the content of a file of the folder.

        Args:
            file: Name of the file; `.json` at its end means JSON.
            name: Name of the schema.

        Raises:
            FileNotFoundError: The file does not exist.
            ResolveError: dlt would not take the schema. File, line and column are named.
        """
        path = self._folder / file
        shown = str(path)
        try:
            text = decode(read_whole(path), shown, remedy=self._remedy)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ResolveError(
                f"{shown}: this cannot be read ({error.strerror or error}). Name the folder of the"
                " schema files in `import_schema_path`."
            ) from error
        stored = parse_schema(text, shown, remedy=self._remedy)
        if self._right.get(file) != text:
            _refuse_wrong(copy.deepcopy(stored), name, text, shown, self._remedy)
            self._right[file] = text
        return stored


@contextlib.contextmanager
def naming_schema_beside(module: str | None, search_path: str | None = None) -> Iterator[None]:
    """If the block fails because of the schema file beside a `@dlt.source`, name file and line.

    dlt reads such a file when the source is called, and its errors do not name it. So when the
    block fails, the schema files beside the module are read again, if the module names them.

    Args:
        module: Dotted name of the module; its last part may be the name of a function.
        search_path: Folder that the module is in, or None for Python's own path.

    Raises:
        ResolveError: The block failed, and a schema file beside the module is wrong.
    """
    try:
        yield
    except LoadsmithError:
        raise
    except Exception as error:
        for path in _schemas_beside(module or "", [search_path] if search_path else sys.path):
            try:
                ImportSchemas(str(path.parent), remedy=_REMEDY_BESIDE).read(
                    path.name, path.name.partition(".schema.")[0]
                )
            except ResolveError as mistake:
                raise mistake from error
        raise


def _schemas_beside(module: str, folders: Iterable[str]) -> Iterator[Path]:
    parts = module.split(".")
    for folder in folders:
        for length in range(len(parts), 0, -1):
            base = Path(folder, *parts[:length])
            for file in (base.with_suffix(".py"), base / "__init__.py"):
                if file.is_file():
                    words = set(re.findall(r"\w+", file.read_text("utf-8", errors="replace")))
                    for path in sorted(file.parent.glob("*.schema.*")):
                        if path.suffix in (".yaml", ".json") and path.name.split(".")[0] in words:
                            yield path


def _refuse_wrong(stored: dict[str, Any], name: str, text: str, shown: str, remedy: str) -> None:
    """Raise an error if dlt would not take a schema.

    Raises:
        ResolveError: dlt would not.
    """

    def fail(message: str, path: list[str], error: Exception | None = None) -> None:
        line, column = place_in(text, shown, path)
        raise ResolveError(f"{shown}:{line}:{column}: {message}. {remedy}") from error

    for field in ("name", "engine_version", "version", "version_hash", "tables"):
        if field not in stored:
            fail(f"the field `{field}` is missing", [])
    if stored["name"] != name:
        fail(
            f"`name` is {_short(repr(stored['name']))} and not {name!r}, as the file says", ["name"]
        )
    try:
        _try_in_dlt(stored)
    except Exception as error:  # noqa: BLE001 - dlt has no base for what it says of a schema
        path = list(_path_of(error, stored))
        reason = re.sub(r"^Path `[^`]*`: ", "", str(error)).strip().rstrip(".")
        fail(f"dlt does not take this: {type(error).__name__}: {_short(reason)}", path, error)
    for path, what in _overlooked(stored):
        fail(what, path)


def _overlooked(stored: dict[str, Any]) -> Iterator[tuple[list[str], str]]:
    """Yield what dlt accepts and fails on later: the place, and what is wrong."""
    for path in _changed_by_hand(stored):
        yield path, f"`{path[1]}` is a table of dlt's own, which is not as dlt makes it"
    for name, table in stored["tables"].items():
        columns = table.get("columns") or {}
        for hints, path in (
            (table, ["tables", name]),
            *((hints, ["tables", name, "columns", column]) for column, hints in columns.items()),
        ):
            if not isinstance(hints.get(_SEEN, {}), dict):
                yield [*path, _SEEN], f"`{_SEEN}` is no mapping"
            if hints.get("parent_key") and not table.get("parent"):
                # Nothing would fill the column.
                yield path, f"table {_short(repr(name))} has a key of a parent, and no `parent`"


def _try_in_dlt(stored: dict[str, Any]) -> None:
    from dlt.common.schema import Schema

    Schema.from_dict(stored).update_normalizers()


def _changed_by_hand(stored: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the places where dlt's internal tables have columns that it cannot fill."""
    from dlt.common.schema.utils import loads_table, version_table

    for internal in (version_table(), loads_table()):
        name = str(internal["name"])
        columns = stored["tables"].get(name, {}).get("columns", {})
        if not columns.keys() & internal["columns"].keys():
            # Another naming convention gives the columns other names.
            continue
        for column in sorted(columns.keys() ^ internal["columns"].keys()):
            yield ["tables", name, "columns", column]
        for column, hints in internal["columns"].items():
            if any(columns[column].get(key) != hints.get(key) for key in ("data_type", "nullable")):
                yield ["tables", name, "columns", column]


def _path_of(error: Exception, stored: dict[str, Any]) -> Iterator[str]:
    """Yield the keys on the way to the place that an error of dlt names."""
    path = getattr(error, "path", None)
    if isinstance(path, str):
        yield from (name or key for name, key in _STEPS.findall(path))
        field = getattr(error, "field", None)
        if isinstance(field, str):
            yield field
        return
    table = getattr(error, "table_name", None)
    if isinstance(table, str):
        yield from ("tables", table)
        if hasattr(error, "parent_table_name"):
            yield "parent"
        return
    # Other errors are about the normalizer of names, or about expressions.
    for section in ("normalizers", "settings"):
        if section in stored and section[:-1] in f"{type(error).__name__} {error}".lower():
            yield section
            return


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
