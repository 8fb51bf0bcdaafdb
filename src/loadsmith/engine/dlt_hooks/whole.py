"""Find files of a working directory that are not as they were written, as after a power cut.

Packages have a list of their files with checksums; dlt's states and schemas have hashes of their
own. What else is there can be made again.
"""

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import semver
from dlt.common.schema.utils import verify_schema_hash
from dlt.common.storages import LoadStorage
from dlt.common.storages.load_package import (
    PackageStorage,
    ParsedLoadJobFileName,
)
from dlt.common.versioned_state import (
    decompress_state,
    generate_state_version_hash,
    json_decode_state,
)
from dlt.normalize import normalize
from dlt.pipeline.pipeline import Pipeline
from dlt.pipeline.state_sync import (
    PIPELINE_STATE_ENGINE_VERSION,
    generate_pipeline_state_version_hash,
)

from loadsmith.errors import ResolveError

#: The list of the files of a package, in its folder: names and checksums.
FILE_LIST = "loadsmith_files.json"

#: Says in the state of a package that it has the list; those of 0.1 and of plain dlt have none.
_IS_LISTED = "loadsmith_is_listed"

#: What a load makes of the files of a package, beside them.
FOLLOWUP_FORMATS = frozenset({"sql", "reference"})

#: Folders of a working directory.
_FOLDERS = (
    *("schemas", "normalize", "normalize/extracted"),
    *("load", "load/new", "load/normalized", "load/loaded"),
)

_JOB_FOLDERS = ("new_jobs", "started_jobs", "completed_jobs", "failed_jobs")

_PACKAGES = ("normalize/extracted/*/", "load/normalized/*/")

_DRAFT = re.compile(r"[0-9a-f]{16}")

#: What dlt writes into a package that is listed already.
_CHANGING: tuple[str, ...] = (
    PackageStorage.SCHEMA_UPDATES_FILE_NAME,
    PackageStorage.APPLIED_SCHEMA_UPDATES_FILE_NAME,
    PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME,
)


class ListedLoadStorage(LoadStorage):
    """dlt's storage of load files, which lists the files of a package when that is complete."""

    def commit_new_load_package(self, load_id: str) -> None:
        """Commit as dlt does."""
        list_files(self.new_packages, load_id)
        super().commit_new_load_package(load_id)


def refuse_to_empty(working_dir: Path, pipeline: Pipeline) -> None:
    """Raise if a folder is damaged and holds the only cursors of a pipeline.

    Raises:
        ResolveError: dlt may not read them from the destination.
    """
    if pipeline.config.restore_from_destination:
        return
    if (broken := damaged_base(working_dir) or damaged_in_packages(working_dir)) is not None:
        raise ResolveError(
            f"{broken} is damaged or missing: it is not as an earlier run has written it. The"
            " folder keeps the cursors of the pipeline, and `restore_from_destination` is false,"
            " so that without it all rows would be loaded again. Restore the folder from a"
            " backup; or set `restore_from_destination` to true, so that state and schemas are"
            f" read from the destination; or delete {working_dir} to load everything again."
        )


def list_normalized_files() -> None:
    """Let dlt's normalize write the list of the files of its packages."""
    normalize.__dict__["LoadStorage"] = ListedLoadStorage


def list_files(packages: PackageStorage, load_id: str) -> None:
    """Write the list of the files of a package that is complete, and that it has one."""
    folder = Path(packages.storage.make_full_path(packages.get_package_path(load_id)))
    sums = {
        path.relative_to(folder).as_posix(): _checksum(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (FILE_LIST, *_CHANGING)
    }
    (folder / FILE_LIST).write_text(json.dumps(sums), encoding="utf-8")
    state: Any = packages.get_load_package_state(load_id)
    state[_IS_LISTED] = True
    packages.save_load_package_state(load_id, state)


def is_draft(name: str) -> bool:
    """Tell whether dlt gives such a name to a file that it writes beside its place."""
    return _DRAFT.fullmatch(name) is not None


def wrong_kind(working_dir: Path) -> Path | None:
    """Return what stands in the place of a folder or a file that the pipeline needs, and is none.

    It is a folder, a file, or a link that leads nowhere.
    """
    folders = [working_dir, *(working_dir / name for name in _FOLDERS)]
    files = [working_dir / Pipeline.STATE_FILE, *working_dir.glob("schemas/*.schema.json")]
    files += [working_dir / name / ".version" for name in ("normalize", "load")]
    wrong = [path for path in folders if not path.is_dir()]
    wrong += [path for path in files if not path.is_file()]
    return next((path for path in wrong if os.path.lexists(path)), None)


def damaged_base(working_dir: Path) -> Path | None:
    """Return a damaged file that the pipeline itself needs: its state, a schema, a version.

    A state is missing where there are schemas: dlt writes it before them.
    """
    if (wrong := wrong_kind(working_dir)) is not None:
        return wrong
    state = working_dir / Pipeline.STATE_FILE
    if not state.exists():
        return state if list(working_dir.glob("schemas/*.schema.json")) else None
    checks: list[tuple[Iterable[Path], Callable[[Path], Any]]] = [
        ([state], _check_state),
        (list(working_dir.glob("schemas/*.schema.json")), _check_schema),
        (list(working_dir.glob("*/.version")), lambda path: semver.Version.parse(path.read_text())),
    ]
    return next(
        (path for paths, check in checks for path in paths if _is_damaged(path, check)), None
    )


def damaged_in_packages(working_dir: Path) -> Path | None:
    """Return a damaged file of a package that is not loaded yet.

    Packages of versions that have written no list of files are taken as they are.
    """
    for pattern in _PACKAGES:
        for folder in sorted(working_dir.glob(pattern)):
            if folder.is_dir() and (found := _damaged_in_package(folder)) is not None:
                return found
    return None


def _damaged_in_package(folder: Path) -> Path | None:
    state = folder / PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME
    for path in (folder / name for name in _CHANGING):
        if (path.exists() or path == state) and _is_damaged(path, _check_json):
            return path
    schema: Path = folder / PackageStorage.SCHEMA_FILE_NAME
    # The first package of a schema has it without a hash of what extract has added.
    if _is_damaged(schema, lambda path: isinstance(json.loads(path.read_bytes()), dict)):
        return schema
    listed = folder / FILE_LIST
    if os.path.lexists(listed) and not listed.is_file():
        return listed
    if not listed.exists():
        return listed if _IS_LISTED in json_decode_state(state.read_text("utf-8")) else None
    try:
        sums: dict[str, int] = dict(json.loads(listed.read_bytes()))
    except (TypeError, ValueError):
        return listed
    if schema.name not in sums:
        return listed
    return _differing(folder, sums)


def _differing(folder: Path, sums: dict[str, int]) -> Path | None:
    """Return a file of a package that is not as its list says, or not in it."""
    # A load moves its files, and counts in their names how often it has tried them.
    there = {_name(path): path for name in _JOB_FOLDERS for path in (folder / name).glob("*.*")}
    listed_names = {_name(folder / name) for name in sums}
    for name, path in there.items():
        # What a load makes of its files is not listed; what is no job is removed.
        job = _job_of(path)
        if job and job.file_format not in FOLLOWUP_FORMATS and name not in listed_names:
            return path
    for name, known in sums.items():
        path = folder / name
        if path.parent.name in _JOB_FOLDERS:
            path = there.get(_name(path), path)
        if not path.is_file() or _checksum(path) != known:
            return path
    return None


def tidy_packages(working_dir: Path) -> list[Path]:
    """Remove files that are no jobs from the folders of jobs, and make folders that are missing.

    Returns:
        The files.
    """
    strays = []
    for pattern in _PACKAGES:
        for folder in working_dir.glob(pattern):
            for name in _JOB_FOLDERS if folder.is_dir() else ():
                (folder / name).mkdir(exist_ok=True)
                strays += [
                    path
                    for path in (folder / name).iterdir()
                    if _job_of(path) is None and path.suffix != ".exception" and not path.is_dir()
                ]
    for path in strays:
        path.unlink()
    return strays


def _name(path: Path) -> str:
    job = _job_of(path)
    return path.name if job is None else job._replace(retry_count=0).file_name()


def _job_of(path: Path) -> ParsedLoadJobFileName | None:
    try:
        return ParsedLoadJobFileName.parse(path.name)
    except Exception:  # noqa: BLE001 - dlt has several errors for a name that is no job's
        return None


def _checksum(path: Path) -> int:
    result = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            result = zlib.crc32(chunk, result)
    return result


def _is_damaged(path: Path, check: Callable[[Path], Any]) -> bool:
    if not path.is_file():
        return True
    try:
        return check(path) is False
    except OSError:
        return False
    except Exception:  # noqa: BLE001 - whatever a reader says of a file that is damaged
        return True


def _check_state(path: Path) -> bool:
    state: Any = json_decode_state(path.read_text("utf-8"))
    schemas = path.parent / "schemas"
    # dlt takes a file that it has not moved to its place yet for a schema.
    # dlt forgets the name of a schema whose file is gone, but for that of the default one.
    names = {*(state.get("schema_names") or ()), state.get("default_schema_name")} - {None}
    names = {name for name in names if not is_draft(name)}
    if not all((schemas / f"{name}.schema.json").is_file() for name in names):
        return False
    if state["_state_engine_version"] != PIPELINE_STATE_ENGINE_VERSION:
        return True
    return bool(state["_version_hash"] == generate_pipeline_state_version_hash(state))


def _check_schema(path: Path) -> bool:
    return verify_schema_hash(json.loads(path.read_bytes()), verifies_if_not_migrated=True)


def _check_json(path: Path) -> bool:
    state: Any = json_decode_state(path.read_text("utf-8"))
    if path.name != PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME:
        return isinstance(state, dict)
    if stored := state.get("pipeline_state"):
        decompress_state(stored["state"])
    # dlt counts its metrics elsewhere.
    found = generate_state_version_hash(state, exclude_attrs=["load_metrics"])
    return bool(state["_version_hash"] == found)
