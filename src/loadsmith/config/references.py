"""Check the references between entries of a project: unknown names, duplicates and circles."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadsmith.config.models import Asset, ResourceEntry
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.config.templates import Scope, template_problems
from loadsmith.dlt_names import destination_names
from loadsmith.documents import Document, Node, shorten
from loadsmith.errors import Problem, did_you_mean

CONTEXT_NAMES = frozenset(
    {"run_id", "partition_key", "partition_window_start", "partition_window_end"}
)
"""What follows `context.` in a variable."""

_SELECTED_KEY = re.compile(r"^(?:\d*\+|\*)*(?P<key>[A-Za-z_][\w./-]*)(?:\+\d*|\*)*$")
"""A Dagster selection of a single key, with or without its parents and children."""

_OUTSIDE = "Assets that are not in these files go into `deps`."


@dataclass(frozen=True)
class AssetReference:
    """A place in the files that names an asset key."""

    key: str
    located: Located[object]
    path: tuple[str | int, ...]
    advice: str = ""

    @property
    def place(self) -> tuple[str, int, int]:
        """File, line and column of the name."""
        problem = self.located.problem("", *self.path)
        return problem.file, problem.line, problem.column

    def problem(self, known: Iterable[str]) -> Problem:
        """Return the problem that there is no such asset, with the nearest keys."""
        hint = did_you_mean(self.key, known)
        advice = f" {self.advice}" if self.advice else ""
        return self.located.problem(
            f"there is no asset {shorten(self.key)}.{hint}{advice}", *self.path
        )


def project_problems(
    files: ProjectFiles,
    *,
    broken_keys: Collection[str] | None,
    broken_assets: Sequence[Document],
    task_types: Collection[str],
    resource_kinds: Collection[str],
    has_broken_resources: bool,
) -> Iterator[Problem]:
    """Yield the problems between models that are valid by themselves.

    Args:
        files: The models.
        broken_keys: Keys of assets with mistakes; None if not all keys are known.
        broken_assets: Those assets as they are written.
        task_types: Names of tasks.
        resource_kinds: Names of resource kinds.
        has_broken_resources: Whether a resource has a mistake, so that not all are known.
    """
    yield from _repeated(files)
    yield from _unknown_kinds(files, task_types, resource_kinds)
    yield from _destination_problems(files, broken_assets)
    yield from _twice_partitioned(files)
    yield from _circles(files)
    if broken_keys is not None:
        known = {asset.value.asset_key for asset in files.assets} | set(broken_keys)
        yield from _unknown_keys(files, known)
    yield from _unknown_variables(files, broken_assets, has_broken_resources=has_broken_resources)


def unknown_references(files: ProjectFiles, known: Collection[str]) -> list[AssetReference]:
    """Return the references to assets that are not in `known`, all keys of the project.

    `read_project` accepts any key that may be a table of a load. This checks again once the tables
    are known.
    """
    return [reference for reference in asset_references(files) if reference.key not in known]


def asset_references(files: ProjectFiles) -> Iterator[AssetReference]:
    """Yield every place that names an asset: `depends_on`, `partitions` and `jobs`."""
    for asset in files.assets:
        for index, key in enumerate(asset.value.depends_on):
            yield AssetReference(key, asset, ("depends_on", index), _OUTSIDE)
    for entry in files.partitions:
        for index, key in enumerate(entry.value.assets):
            yield AssetReference(key, entry, ("assets", index))
    for job in files.jobs:
        for index, selection in enumerate(job.value.asset_selection):
            match = _SELECTED_KEY.match(selection)
            if match:
                yield AssetReference(match["key"], job, ("asset_selection", index))


def _repeated(files: ProjectFiles) -> Iterator[Problem]:
    first: dict[tuple[str, str], str] = {}

    def check(
        what: str, name: str, located: Located[object], *path: str | int
    ) -> Iterator[Problem]:
        place = located.problem("", *path)
        before = first.setdefault((what, name), f"{place.file}:{place.line}:{place.column}")
        if before != f"{place.file}:{place.line}:{place.column}":
            yield located.problem(
                f"the {what} '{name}' is taken, see {before}. Choose another one.", *path
            )

    for asset in files.assets:
        yield from check("asset key", asset.value.asset_key, asset, "asset_key")
    for job in files.jobs:
        yield from check("job id", job.value.job_id, job, "job_id")
        for index, trigger in enumerate(job.value.triggers):
            path = ("triggers", index, "trigger_id")
            yield from check("trigger id", trigger.trigger_id, job, *path)
    kinds: set[str] = set()
    for entry in files.resources:
        kind = entry.value.resource_kind
        if kind in kinds and kind == "dlt":
            yield entry.problem(
                "each Dagster code location can have only one DLT resource. Remove this one and "
                "put its pipelines into subfolders of the other's project_dir.",
                "resource_kind",
            )
        elif kind in kinds:
            message = f"there is a resource of the kind '{kind}' already. Remove one of them."
            yield entry.problem(message, "resource_kind")
        kinds.add(kind)


def _unknown_kinds(
    files: ProjectFiles, task_types: Collection[str], resource_kinds: Collection[str]
) -> Iterator[Problem]:
    for asset in files.assets:
        name = asset.value.task_type
        if name not in task_types and "." not in name:
            message = f"there is no task {shorten(name)}.{did_you_mean(name, task_types)}"
            yield asset.problem(message, "task_type")
    for entry in files.resources:
        name = entry.value.resource_kind
        if name not in resource_kinds and "." not in name:
            message = (
                f"there is no resource kind {shorten(name)}.{did_you_mean(name, resource_kinds)}"
            )
            yield entry.problem(message, "resource_kind")


def _destination_problems(
    files: ProjectFiles, broken_assets: Sequence[Document]
) -> Iterator[Problem]:
    documents = [asset.document for asset in files.dlt_assets]
    for document in (*documents, *broken_assets):
        params = _members(document.root).get("params")
        # With `destination_type`, the name is the user's own: the sections of its settings.
        if "destination_type" in _members(_members(params).get("destination_params")):
            continue
        named: list[tuple[Node | None, tuple[str | int, ...]]] = [(params, ("params",))]
        named += [
            (profile, ("params", "profiles", name))
            for name, profile in _members(_members(params).get("profiles")).items()
        ]
        for node, path in named:
            name = _members(node).get("destination")
            # A name that is not text was reported when the asset was read.
            is_named = name is not None and isinstance(name.value, str) and name.value
            problem = destination_problem(name.value) if name and is_named else None
            if problem:
                yield document.problem(problem, *path, "destination")


def destination_problem(name: str) -> str | None:
    """Return what is wrong with a destination's name, or None.

    A dotted path is left to the run, which imports it, and so is a name with a variable.
    """
    known = destination_names()
    if not known or name in known or "." in name or "{{" in name:
        return None
    hint = did_you_mean(name, known) or f" There is: {', '.join(known)}."
    return f"there is no destination {name!r}.{hint}"


def _members(node: Node | None) -> Mapping[str, Node]:
    """Return the members of a mapping, or none if the node is not a mapping."""
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _twice_partitioned(files: ProjectFiles) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for entry in files.partitions:
        for index, key in enumerate(entry.value.assets):
            if key in first:
                message = f"'{key}' has partitions already, see {first[key]}. Remove one of them."
                yield entry.problem(message, "assets", index)
            first.setdefault(key, entry.place)


def _unknown_keys(files: ProjectFiles, known: set[str]) -> Iterator[Problem]:
    # A load defines its prefix as an asset, and tables below it that its schema file names.
    prefixes = {asset.value.asset_key.rpartition("/")[0] for asset in files.dlt_assets}
    known = known | prefixes
    for reference in asset_references(files):
        if reference.key in known or reference.key.rpartition("/")[0] in prefixes:
            continue
        yield reference.problem(known)


def _circles(files: ProjectFiles) -> Iterator[Problem]:
    assets = {asset.value.asset_key: asset for asset in files.assets}
    done: set[str] = set()
    for start in assets:
        if start in done:
            continue
        # Each entry is an asset on the path, and the parents that are still to be visited.
        way: dict[str, Iterator[tuple[str, tuple[str | int, ...]]]] = {
            start: _parents(assets[start].value, assets)
        }
        while way:
            key = next(reversed(way))
            parent, path = next(way[key], ("", ()))
            if not parent:
                done.add(key)
                del way[key]
            elif parent in way:
                circle = [*way][[*way].index(parent) :]
                shown = " -> ".join([*circle, parent])
                yield assets[key].problem(
                    f"these assets depend on each other in a circle: {shown}. Remove one step.",
                    *path,
                )
            elif parent not in done:
                way[parent] = _parents(assets[parent].value, assets)


def _parents(
    asset: Asset, assets: Mapping[str, object]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for field in ("depends_on", "deps"):
        for index, key in enumerate(getattr(asset, field)):
            parent = _asset_of(key, assets)
            if parent is not None:
                yield parent, (field, index)


def _asset_of(key: str, assets: Mapping[str, object]) -> str | None:
    """Return the entry that defines the asset `key`, which may be a nested table of a load."""
    while key not in assets:
        key, separator, _ = key.rpartition("__")
        if not separator:
            return None
    return key


def _unknown_variables(
    files: ProjectFiles, broken_assets: Sequence[Document], *, has_broken_resources: bool
) -> Iterator[Problem]:
    resources = None if has_broken_resources else _resource_names(files.resources)
    always = {"utils": frozenset({"now"}), "env": None, "resource": resources}
    scope = Scope(always, "Only `env`, `utils` and `resource` are known here.")
    for entry in files.resources:
        for path, message in template_problems(entry.value.params, scope):
            yield entry.problem(message, "params", *path)
    hint = "Parents in `depends_on` are variables by their key, with '_' for each '/'."
    documents = [asset.document for asset in files.assets]
    for document in (*documents, *broken_assets):
        members = _members(document.root)
        keys = members["depends_on"].plain() if "depends_on" in members else ()
        parents = {
            key.replace("/", "_"): None
            for key in (keys if isinstance(keys, (list, tuple)) else [keys])
            if isinstance(key, str)
        }
        scope = Scope({**parents, **always, "context": CONTEXT_NAMES}, hint)
        params = members["params"].plain() if "params" in members else {}
        for path, message in template_problems(params, scope):
            yield document.problem(message, "params", *path)


def _resource_names(resources: Iterable[Located[ResourceEntry]]) -> frozenset[str]:
    names: set[str] = set()
    for entry in resources:
        kind = entry.value.resource_kind
        if kind in ("dlt", "duckdb"):
            names.update(f"{kind}.{param}" for param in entry.value.params)
        else:
            # Only the class of a project's own resource kind knows its defaults.
            names.add(f"{kind.partition('.')[0]}.*")
    return frozenset(names)
