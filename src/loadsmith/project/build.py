"""Build the Dagster definitions of a project: assets, jobs, schedules and resources."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from loadsmith.assets.build import build_load_definitions
from loadsmith.assets.define import build_partitions_def, build_upstream_specs
from loadsmith.assets.links import link_loads
from loadsmith.config.files import ReadProject, look_at_project
from loadsmith.config.models import TaskAsset
from loadsmith.config.project_files import Located
from loadsmith.config.references import unknown_references
from loadsmith.errors import ConfigError, LoadsmithError, Problem
from loadsmith.names import op_name, unique_name
from loadsmith.project.executors import make_executor
from loadsmith.project.jobs import build_job
from loadsmith.project.loads import (
    ProjectLoad,
    ProjectLoads,
    ProjectTranslator,
    inspect_project,
    tasks_of,
)
from loadsmith.project.make_resources import ProjectResources, make_resources
from loadsmith.project.resources import resource_kinds
from loadsmith.project.task_assets import (
    TaskSurroundings,
    build_task,
    build_task_freshness,
    one_partition_problems,
    with_advice,
)
from loadsmith.project.task_types import task_types
from loadsmith.project.variables import Parents, project_variables, variable_name
from loadsmith.resolve import used_variables

PATH_VARIABLE = "ODP_CONFIG_PATH"
"""Environment variable that names the folder if `build_definitions` gets none."""


def build_definitions(
    path: str | os.PathLike[str] | None = None,
    *,
    executor: "dg.ExecutorDefinition | dg.Executor | None" = None,
) -> dg.Definitions:
    """Build the definitions of a whole project, from `dagster_config.yaml` and `workflows/`.

    Needs no network and no secret, writes nothing, and imports neither dlt nor sources with a
    schema file. Projects in the same process share nothing.

    Args:
        path: The folder of the files, such as `odp_config`, from the working directory; the
            environment variable `ODP_CONFIG_PATH` where None.
        executor: What runs the steps of runs; that of `dagster_config.yaml` if None.

    Raises:
        ConfigError: No folder is named, or its files have mistakes; all of them are in it.
    """
    project = look_at_project(
        _folder_of(path), task_types=task_types(), resource_kinds=resource_kinds()
    )
    return _Project(project, executor).build()


def build_runnable(path: str | Path) -> tuple[dg.Definitions, dict[str, Problem]]:
    """Build what can run of a project: the assets of loads whose schema file is there.

    Returns:
        The definitions, without the project's jobs where an asset is left out; and the problem of
        each asset that is left out, by key.

    Raises:
        ConfigError: The files have other mistakes; all of them are in it.
    """
    files = look_at_project(path, task_types=task_types(), resource_kinds=resource_kinds())
    skipped: dict[str, Problem] = {}
    return _Project(files, None, skipped).build(), skipped


def _folder_of(path: str | os.PathLike[str] | None) -> Path:
    folder = path if path is not None else os.environ.get(PATH_VARIABLE)
    if not folder:
        raise ConfigError(
            f"build_definitions: no folder is named. Give it the path of one, such as "
            f"'odp_config', or set the environment variable {PATH_VARIABLE}."
        )
    return Path(folder)


class _Project:
    """Builds the definitions of a project and collects its problems."""

    def __init__(
        self, project: ReadProject, executor: Any, skipped: dict[str, Problem] | None = None
    ) -> None:
        self.files = project.files
        self._skipped = skipped
        self._executor = executor
        self.problems = list(project.problems)
        self._broken_keys = project.broken_keys
        self._has_broken_resources = project.has_broken_resources
        self._op_names: set[str] = set()

    def build(self) -> dg.Definitions:
        # The valid entries are built although others have mistakes, because building them may
        # show more mistakes.
        loads = ProjectLoads()
        if not self._has_broken_resources:
            loads, problems = inspect_project(self.files, self._skipped)
            self.problems += problems
            if not problems and not self._skipped:
                # Without all schema files, keys of their tables would seem unknown.
                self.problems += self._reference_problems(loads)
        resources, problems = make_resources(self.files)
        reported = self._reported_places()
        # Reading the files has checked the fields of known kinds already.
        self.problems += [p for p in problems if (p.file, p.line, p.column) not in reported]
        partitions = self._partitions(loads)
        built: list[dg.Definitions] = []
        for load in loads.loads:
            try:
                built.append(self._build_load(load, loads, resources, partitions))
            except (LoadsmithError, dg.DagsterError) as error:
                self.problems.append(_problem_of(error, load))
        self._op_names = {
            asset.op.name
            for part in built
            for asset in part.assets or ()
            if isinstance(asset, dg.AssetsDefinition)
        }
        tasks = list(tasks_of(self.files.assets))
        for task in tasks:
            if task.value.asset_key in loads.entry_of:
                self.problems.append(_taken_by_a_table(task, loads))
            else:
                around = self._surroundings(task, loads, resources, partitions)
                assets, problems = build_task(task, around)
                self.problems += problems
                built += [dg.Definitions(assets=assets)]
        sensors = {sensor.name for part in built for sensor in part.sensors or ()}
        built.append(build_task_freshness(tasks, taken=sensors))
        for job in () if self._skipped else self.files.jobs:
            definitions, problems = build_job(
                job,
                names_of=loads.names_of,
                # Mistakes elsewhere may have removed the partitions of assets.
                partitions=None if self.problems else partitions,
                base_path=self.files.base_path,
            )
            self.problems += problems
            built.append(definitions)
        if self.files.executor is not None and self._executor is None:
            self._executor, problems = make_executor(self.files.executor, self.files.base_path)
            self.problems += problems
        if self.problems:
            raise ConfigError(dict.fromkeys(self.problems))
        return self._join(built, resources, loads)

    def _reference_problems(self, loads: ProjectLoads) -> list[Problem]:
        """Return the unknown asset keys that are not reported yet."""
        broken = self._broken_keys
        if broken is None:
            return []
        prefixes = {key.rpartition("/")[0] for key in broken if "/" in key}
        known = self._keys(loads) | broken
        reported = self._reported_places()
        return [
            reference.problem(known)
            for reference in unknown_references(self.files, known)
            if reference.key.rpartition("/")[0] not in prefixes and reference.place not in reported
        ]

    def _reported_places(self) -> set[tuple[str, int, int]]:
        return {(problem.file, problem.line, problem.column) for problem in self.problems}

    def _keys(self, loads: ProjectLoads) -> set[str]:
        """Return every asset key that the files may refer to."""
        keys = {asset.value.asset_key for asset in self.files.assets} | set(loads.entry_of)
        for load in loads.loads:
            keys |= {key.to_user_string() for key in load.upstream_keys}
        return keys

    def _partitions(self, loads: ProjectLoads) -> dict[str, Any]:
        """Return Dagster's partitions by key, of tables and of task assets."""
        by_key: dict[str, Any] = {}
        for entry in self.files.partitions:
            try:
                built = build_partitions_def(entry.value.params.to_settings(), where="`params`")
            except (ConfigError, dg.DagsterError) as error:
                self.problems.append(entry.problem(with_advice(error), "params"))
                continue
            for index, key in enumerate(entry.value.assets):
                owner = loads.entry_of.get(key)
                if owner is not None and owner.value.asset_key != key:
                    message = (
                        f"'{key}' is loaded together with '{owner.value.asset_key}'. Give the "
                        "partitions to that one; its tables all have them."
                    )
                    self.problems.append(entry.problem(message, "assets", index))
                by_key[key] = built
        for key, owner in loads.entry_of.items():
            if owner.value.asset_key in by_key:
                by_key[key] = by_key[owner.value.asset_key]
        return by_key

    def _parents(
        self, keys: Iterable[str], loads: ProjectLoads, partitions: Mapping[str, Any]
    ) -> Parents:
        named = {variable_name(key): loads.names_of(key)[0] for key in keys}
        return Parents(
            keys={name: dg.AssetKey.from_user_string(key) for name, key in named.items()},
            partitions={
                dg.AssetKey.from_user_string(key): partitions[key]
                for key in named.values()
                if key in partitions
            },
        )

    def _build_load(
        self,
        load: ProjectLoad,
        loads: ProjectLoads,
        resources: ProjectResources,
        partitions: Mapping[str, Any],
    ) -> dg.Definitions:
        definition = load.definition
        names = used_variables(definition)
        if "context.partition_key" in names and definition.op.max_partitions_per_run is None:
            # A run of several partitions has a window and no key.
            definition = replace(definition, op=replace(definition.op, max_partitions_per_run=1))
        for entry in load.entries.values():
            self.problems += one_partition_problems(entry, names)
        parents = self._parents(
            dict.fromkeys(key for entry in load.entries.values() for key in entry.value.depends_on),
            loads,
            partitions,
        )

        def variables_for(context: dg.AssetExecutionContext) -> Mapping[str, Any]:
            try:
                return project_variables(
                    context, names, resources=resources.params, parents=parents
                )
            except LoadsmithError as error:
                text = f"{definition.place}: {error}"
                raise dg.Failure(description=text, allow_retries=False) from error

        return build_load_definitions(
            [definition],
            snapshots={definition.name: load.snapshot},
            translator=ProjectTranslator(load, self.files.root),
            key_for=load.key_for,
            deps_for=load.deps_for,
            variables_for=variables_for if names else None,
            with_upstreams=False,
        )

    def _surroundings(
        self,
        task: Located[TaskAsset],
        loads: ProjectLoads,
        resources: ProjectResources,
        partitions: Mapping[str, Any],
    ) -> TaskSurroundings:
        key = task.value.asset_key
        # No ordinary asset has such an op.
        name = unique_name(f"task_{op_name(key)}", self._op_names)
        self._op_names.add(name)
        return TaskSurroundings(
            files=self.files,
            op_name=name,
            has_broken_resources=self._has_broken_resources,
            resources=resources,
            partitions_def=partitions.get(key),
            parents=self._parents(task.value.depends_on, loads, partitions),
            deps=tuple(
                name
                for dep in (*task.value.depends_on, *task.value.deps)
                for name in loads.names_of(dep)
            ),
            loads={
                dep: loads.entry_of[name]
                for dep in task.value.depends_on
                for name in loads.names_of(dep)
                if name in loads.entry_of
            },
        )

    def _join(
        self, built: Iterable[dg.Definitions], resources: ProjectResources, loads: ProjectLoads
    ) -> dg.Definitions:
        assets: list[Any] = []
        checks: list[Any] = []
        jobs: list[Any] = []
        schedules: list[Any] = []
        sensors: list[Any] = []
        for part in built:
            assets += part.assets or ()
            checks += part.asset_checks or ()
            jobs += part.jobs or ()
            schedules += part.schedules or ()
            sensors += part.sensors or ()
        specs = [spec for asset in assets for spec in asset.specs]
        assets = link_loads(assets)
        prefixes = {key for load in loads.loads for key in load.upstream_keys}
        return dg.Definitions(
            # Other assets in `deps` may be defined outside of this project.
            assets=[
                *assets,
                *(spec for spec in build_upstream_specs(specs) if spec.key in prefixes),
            ],
            asset_checks=checks,
            jobs=jobs,
            schedules=schedules,
            sensors=sensors,
            resources=resources.by_key,
            executor=self._executor,
        )


def _taken_by_a_table(task: Located[TaskAsset], loads: ProjectLoads) -> Problem:
    key = task.value.asset_key
    message = (
        f"'{key}' is a table of the load '{loads.entry_of[key].value.asset_key}'. Choose another "
        "key for the task."
    )
    return task.problem(message, "asset_key")


def _problem_of(error: Exception, load: ProjectLoad) -> Problem:
    """Return an error as a problem of the entry whose resource it names, or of the first entry."""
    message = with_advice(error).removeprefix(f"{load.definition.place}: ")
    named = [entry for name, entry in load.entries.items() if f"'{name}'" in message]
    entry = (named or list(load.entries.values()))[0]
    # The user did not write the translator of a project.
    message = message.removeprefix("ProjectTranslator, ")
    message = message.replace("Fix the translator or the settings of the resource.", "Change it.")
    return entry.problem(message.removeprefix(f"{entry.place}: "))
