"""Read the folder of a project, validate its files, and report all mistakes at once."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from loadsmith.config.models import (
    Asset,
    DagsterConfigFile,
    Defaults,
    DltAsset,
    DltResourceParams,
    DuckdbResourceParams,
    ExecutorEntry,
    JobParams,
    PartitionEntry,
    ResourceEntry,
    TaskAsset,
    WorkflowFile,
)
from loadsmith.config.places import validate
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.config.references import project_problems
from loadsmith.documents import Document, Node, NotAFileError, read_document, read_whole
from loadsmith.errors import ConfigError, Problem, did_you_mean

CONFIG_NAMES = ("dagster_config.yaml", "dagster_config.yml", "dagster_config.json")
WORKFLOWS = "workflows"
SUFFIXES = (".yaml", ".yml", ".json")

TASK_TYPES = ("dlt", "duckdb_query")
"""The tasks that are always there."""

RESOURCE_PARAMS: Mapping[str, type[BaseModel]] = {
    "dlt": DltResourceParams,
    "duckdb": DuckdbResourceParams,
}
"""The resource kinds that are always there, and their parameters."""


@dataclass(frozen=True, kw_only=True)
class ReadProject:
    """The valid entries of a project's files, and the mistakes in the others.

    Attributes:
        files: All entries without a mistake of their own.
        problems: The mistakes.
        broken_keys: Keys of the assets with mistakes; None if a file is unreadable.
        has_broken_resources: Whether a resource has a mistake, so that not all are known.
    """

    files: ProjectFiles
    problems: tuple[Problem, ...] = ()
    broken_keys: frozenset[str] | None = frozenset()
    has_broken_resources: bool = False


def read_project(
    path: str | Path, *, task_types: Iterable[str] = (), resource_kinds: Iterable[str] = ()
) -> ProjectFiles:
    """Read the folder of a project: `dagster_config.yaml` and `workflows/`.

    Nothing is imported, connected or written.

    Args:
        path: The folder, such as `odp_config`.
        task_types: Names of the project's own tasks.
        resource_kinds: Names of the project's own resource kinds.

    Raises:
        ConfigError: The files have mistakes; all of them are in it.
    """
    project = look_at_project(path, task_types=task_types, resource_kinds=resource_kinds)
    if project.problems:
        raise ConfigError(project.problems)
    return project.files


def look_at_project(
    path: str | Path, *, task_types: Iterable[str] = (), resource_kinds: Iterable[str] = ()
) -> ReadProject:
    """Read the folder of a project, and keep the valid entries of files with mistakes.

    The caller can build the valid entries and report the mistakes of both steps together. The
    arguments are those of `read_project`.

    Raises:
        ConfigError: The folder cannot be read.
    """
    root = Path(path).absolute()
    task_types = (*TASK_TYPES, *task_types)
    reader = _Reader(root, task_types)
    reader.read()
    files = ProjectFiles(
        root=str(root),
        base_path=str(root.parent),
        resources=tuple(reader.resources),
        assets=tuple(reader.assets),
        partitions=tuple(_without_patterns(reader.partitions, reader.assets)),
        jobs=tuple(reader.jobs),
        executor=reader.executor,
    )
    problems = [
        *reader.problems,
        *project_problems(
            files,
            # An unreadable file may define the keys that others refer to.
            broken_keys=None if reader.has_broken_files else reader.broken_keys,
            broken_assets=reader.broken_assets,
            task_types=task_types,
            resource_kinds=(*RESOURCE_PARAMS, *resource_kinds),
            has_broken_resources=reader.has_broken_resources,
        ),
    ]
    return ReadProject(
        files=files,
        problems=tuple(dict.fromkeys(problems)),
        broken_keys=None if reader.has_broken_files else frozenset(reader.broken_keys),
        has_broken_resources=reader.has_broken_resources,
    )


def _without_patterns(
    entries: Sequence[Located[PartitionEntry]], assets: Iterable[Located[Asset]]
) -> Iterator[Located[PartitionEntry]]:
    """Yield the partitions with the keys that their patterns mean.

    A pattern that means none stays, and is reported as the key of no asset.
    """
    named = {key for entry in entries for key in entry.value.assets}
    others = [asset.value.asset_key for asset in assets if asset.value.asset_key not in named]
    for entry in entries:
        keys: dict[str, None] = {}
        for key in entry.value.assets:
            is_pattern = any(sign in key for sign in "*?")
            found = [other for other in others if is_pattern and fnmatchcase(other, key)]
            keys.update(dict.fromkeys(found or [key]))
        yield replace(entry, value=entry.value.model_copy(update={"assets": tuple(keys)}))


def find_files(root: Path) -> tuple[list[Path], list[Path], list[Problem]]:
    """Return the configuration file, the workflow files and the problems of a folder."""
    problems: list[Problem] = []
    if not root.is_dir():
        problems.append(
            Problem(str(root), 0, 0, f"there is no folder {root.name!r} here. Make it or name it.")
        )
        return [], [], problems
    configs = [root / name for name in CONFIG_NAMES if (root / name).exists()]
    for extra in configs[1:]:
        message = f"this file stands beside {configs[0].name}. Keep one of them."
        problems.append(Problem(extra.name, 0, 0, message))
    folder = root / WORKFLOWS
    if not folder.is_dir():
        message = "this folder is missing. Make it and put a file such as github.yaml into it."
        problems.append(Problem(WORKFLOWS, 0, 0, message))
        return configs[:1], [], problems
    workflows = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )
    return configs[:1], workflows, problems


class _Reader:
    """Reads the files in order; collects valid entries and problems."""

    def __init__(self, root: Path, task_types: Collection[str]) -> None:
        self.root = root
        self.task_types = task_types
        self.problems: list[Problem] = []
        self.resources: list[Located[ResourceEntry]] = []
        self.assets: list[Located[Asset]] = []
        self.partitions: list[Located[PartitionEntry]] = []
        self.jobs: list[Located[JobParams]] = []
        self.executor: Located[ExecutorEntry] | None = None
        self.broken_keys: set[str] = set()
        """Keys of assets with mistakes; references to them are valid."""
        self.broken_assets: list[Document] = []
        self.has_broken_resources = False
        self.has_broken_files = False

    def read(self) -> None:
        try:
            configs, workflows, problems = find_files(self.root)
        except OSError as error:
            raise ConfigError([Problem(str(self.root), 0, 0, _cannot_read(error))]) from error
        self.problems += problems
        for file in configs:
            document = self._open(file, DagsterConfigFile, "resources")
            if document is None:
                self.has_broken_resources = True
                continue
            before = len(self.problems)
            self._read_resources(document)
            self.has_broken_resources |= len(self.problems) > before
            if "executor" in document.root.value:
                self.executor = self._read(document, ("executor",), ExecutorEntry)
        for file in workflows:
            document = self._open(file, WorkflowFile, "assets")
            if document is None:
                self.has_broken_files = True
                continue
            self._read_assets(document)
            self.partitions += self._entries(document, "partitions", PartitionEntry)
            self.jobs += self._entries(document, "jobs", JobParams)

    def _open(self, file: Path, model: type[BaseModel], first: str) -> Document | None:
        name = file.relative_to(self.root).as_posix()
        try:
            raw = read_whole(file)
        except OSError as error:
            self.problems.append(Problem(name, 0, 0, _cannot_read(error)))
            return None
        document, problems = read_document(name, raw)
        self.problems += problems
        if document is None:
            return None
        if not isinstance(document.root.value, dict):
            message = f"the file has no names at its top. Begin with `{first}:`."
            self.problems.append(document.problem(message))
            return None
        for key in document.root.value:
            if key not in model.model_fields:
                hint = did_you_mean(key, model.model_fields)
                message = f"there is no field '{key}' here.{hint}"
                self.problems.append(document.problem(message, key, at_key=True))
        return document

    def _members(self, document: Document, section: str) -> Iterator[tuple[int, Node]]:
        node = document.root.value.get(section)
        if node is None:
            return
        if not isinstance(node.value, list):
            message = f"`{section}` takes a list. Begin each entry with '- '."
            self.problems.append(document.problem(message, section, at_key=True))
            return
        yield from enumerate(node.value)

    def _entries(
        self, document: Document, section: str, model: type[Any]
    ) -> Iterator[Located[Any]]:
        for index, _ in self._members(document, section):
            entry = self._read(document, (section, index), model)
            if entry is not None:
                yield entry

    def _read(
        self, document: Document, path: tuple[str | int, ...], model: type[Any]
    ) -> Located[Any] | None:
        value, problems = validate(model, document, path)
        self.problems += problems
        return Located(value, document, path) if value is not None else None

    def _read_resources(self, document: Document) -> None:
        for entry in self._entries(document, "resources", ResourceEntry):
            self.resources.append(entry)
            model = RESOURCE_PARAMS.get(entry.value.resource_kind)
            if model is not None:
                path = (*entry.path, "params")
                if "params" not in document.root.follow(entry.path)[0].value:
                    path = entry.path
                    needed = [n for n, field in model.model_fields.items() if field.is_required()]
                    message = f"the field 'params' is missing. Add it, with `{needed[0]}`."
                    self.problems.append(document.problem(message, *path))
                    continue
                self.problems += validate(model, document, path)[1]

    def _read_assets(self, document: Document) -> None:
        defaults = document.root.value.get("defaults")
        problems = validate(Defaults, document, ("defaults",))[1] if defaults else []
        self.problems += problems
        if problems:
            # A mistake in `defaults` is reported once, not for each asset that inherits it.
            defaults = _without_places(
                defaults, {(problem.line, problem.column) for problem in problems}
            )
        for _, node in self._members(document, "assets"):
            entry, is_dlt = node, _is_dlt(node, self.task_types)
            if defaults is not None and isinstance(node.value, dict):
                entry = node.merged_over(defaults if is_dlt else _without_params(defaults))
            # A document of this asset, in which values from `defaults` keep their places.
            own = Document(document.file, entry)
            model: type[DltAsset] | type[TaskAsset] = DltAsset if is_dlt else TaskAsset
            value, problems = validate(model, own)
            self.problems += problems
            if value is not None:
                self.assets.append(Located(value, own))
            else:
                self.broken_assets.append(own)
                key = _member(node, "asset_key")
                self.broken_keys.update([key] if isinstance(key, str) else [])


def _member(node: Node, name: str) -> Any:
    child = node.value.get(name) if isinstance(node.value, dict) else None
    return child.value if child is not None else None


def _is_dlt(node: Node, task_types: Collection[str]) -> bool:
    """Return whether an asset is a load, or is probably meant to be one.

    The mistakes of such an asset are those of a load.
    """
    if not isinstance(node.value, dict):
        return False
    if "task_type" in node.value:
        name = _member(node, "task_type")
    else:
        near = get_close_matches("task_type", node.value, n=1)
        name = _member(node, near[0]) if near else None
    if name is None:
        params = node.value.get("params")
        inside = params.value if params is not None and isinstance(params.value, dict) else {}
        return bool(get_close_matches("source_module", inside, n=1))
    if isinstance(name, str) and name not in task_types and "." not in name:
        name = next(iter(get_close_matches(name, task_types, n=1)), name)
    return bool(name == "dlt")


def _without_params(defaults: Node) -> Node:
    if not isinstance(defaults.value, dict):
        return defaults
    value = {key: child for key, child in defaults.value.items() if key != "params"}
    return Node(value, defaults.line, defaults.column, defaults.keys)


def _without_places(node: Node, places: Collection[tuple[int, int]]) -> Node:
    """Return the mapping without the members that begin at any of the places."""
    if not isinstance(node.value, dict):
        return node
    keys = node.keys or {}
    value = {
        key: _without_places(child, places)
        for key, child in node.value.items()
        if keys.get(key) not in places and (child.line, child.column) not in places
    }
    return Node(value, node.line, node.column, node.keys)


def _cannot_read(error: OSError) -> str:
    todo = "Put a file there." if isinstance(error, NotAFileError) else "Look at its permissions."
    return f"this cannot be read ({error.strerror or error}). {todo}"
