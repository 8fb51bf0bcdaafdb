"""What runs have seen of a load, read when it is defined again; `seen_by_run` writes it.

A source that nobody may import, or whose nested tables nobody can know, has told a run all that:
docstrings, what feeds what, columns and keys. It is kept beside the working directories of the
load, so that it is there where runs and definitions share a disk, and only fills up what
definitions show. Which assets there are in files, and which op loads them, never depends on it.
"""

import json
import logging
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadsmith.model import LoadSnapshot, ResourceSnapshot, SourceReference

_LOG = logging.getLogger("loadsmith")

OWN_FOLDER = ".loadsmith"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one load has left: what its source is told by, and its snapshot."""

    known_by: str
    snapshot: LoadSnapshot


def default_pipelines_dir() -> str:
    """Return dlt's folder of working directories, without importing dlt for it."""
    if "dlt" in sys.modules:
        from dlt.common.pipeline import get_dlt_pipelines_dir

        return get_dlt_pipelines_dir()
    data_dir = os.environ.get("DLT_DATA_DIR")
    if data_dir is None and hasattr(os, "geteuid") and os.geteuid() == 0:
        data_dir = "/var/dlt"
    if data_dir is None:
        home = Path.home()
        if not os.access(home, os.W_OK):
            data_dir = str(Path(tempfile.gettempdir()) / "dlt")
        elif "XDG_DATA_HOME" in os.environ and not (home / ".dlt").is_dir():
            data_dir = str(Path(os.environ["XDG_DATA_HOME"]) / "dlt")
        else:
            data_dir = str(home / ".dlt")
    return str(Path(data_dir) / "pipelines")


def with_seen(
    snapshot: LoadSnapshot, source: Any, *, pipeline_name: str | None, pipelines_dir: str | None
) -> LoadSnapshot:
    """Return a snapshot with what earlier runs have seen of its resources, where they did.

    Args:
        snapshot: What is known without it.
        source: The source of the definition: a reference is told from others by its module, all
            else by the name of the dlt source.
        pipeline_name: Name of the pipeline.
        pipelines_dir: Folder of its working directory; dlt's own where None.
    """
    if pipeline_name is None:
        return snapshot
    folder = seen_folder(pipelines_dir or default_pipelines_dir(), pipeline_name)
    seen: dict[str, ResourceSnapshot] = {}
    for found in _read_all(folder):
        if found.known_by == known_by(source, snapshot.source_name):
            seen.update({resource.name: resource for resource in found.snapshot.resources})
    if not seen:
        return snapshot
    return replace(
        snapshot,
        resources=tuple(
            replace(resource, seen=seen.get(resource.name)) for resource in snapshot.resources
        ),
    )


def known_by(source: Any, source_name: str) -> str:
    """Return what a source is told by, when it is run as when it is defined."""
    return source.module if isinstance(source, SourceReference) else source_name


def seen_folder(pipelines_dir: str, pipeline_name: str) -> Path:
    """Return the folder of what runs by a pipeline have seen: a file for each load."""
    return Path(pipelines_dir) / OWN_FOLDER / ".seen" / pipeline_name


def _read_all(folder: Path) -> list[Seen]:
    try:
        paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        # A folder that is going away while it is looked at has nothing to tell.
        return []
    return [found for path in paths if (found := read_seen(path)) is not None]


def read_seen(path: Path) -> Seen | None:
    """Return what a file holds, or None where it is not there or damaged: the next run heals it."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        return Seen(
            known_by=str(stored["known_by"]), snapshot=LoadSnapshot.from_dict(stored["snapshot"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning(
            "%s: what runs have seen cannot be read (%s). It is left out until the next run.",
            path,
            type(error).__name__,
        )
        return None
