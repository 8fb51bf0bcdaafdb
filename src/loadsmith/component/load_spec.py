"""`DltLoadSpecModel`: one entry of `loads`, from YAML or from Python."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, ValidationError

from loadsmith.assets.define import DltResourceTranslatorData, build_partitions_def
from loadsmith.component.models import BackfillPolicyEntry, LoadEntry, PartitionsEntry
from loadsmith.component.references import PIPELINE, SOURCE, load_reference
from loadsmith.component.templating import fail_at, render, resolve_entry
from loadsmith.config.partition_params import PartitionParams
from loadsmith.errors import ConfigError, LoadsmithError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Home:
    """The place of a component, where its relative references and paths start.

    Attributes:
        package: Module of the folder that holds `defs.yaml`.
        folder: That folder.
        project_root: The folder of the project, where relative paths of destinations start.
        label: The folder relative to the `defs` folder, for names.
    """

    package: str = ""
    folder: Path
    project_root: Path
    label: str = ""

    @staticmethod
    def of(context: Any) -> "Home":
        """Return the home of the component that a Dagster load context is for."""
        try:
            path = context.path
            folder = path if path.is_dir() else path.parent
            package = context.defs_relative_module_name(folder)
        except (dg.DagsterError, AttributeError, ValueError):
            # Without a project, as in tests of a component, the context has no path.
            return Home(folder=Path.cwd(), project_root=context.project_root)
        return Home(
            package=package,
            folder=folder,
            project_root=context.project_root,
            label=folder.absolute().relative_to(context.defs_module_path.absolute()).as_posix(),
        )

    def path_of(self, text: str) -> str:
        """Return `text` as an absolute path, from the folder or else from the project's."""
        path = Path(text)
        if path.is_absolute():
            return text
        beside = self.folder / path
        in_project = self.project_root / path
        return str(in_project if in_project.exists() and not beside.exists() else beside)


_MULTI_ASSET_OPTIONS = inspect.signature(dg.multi_asset).parameters.keys() - {
    "outs",
    "specs",
    *LoadEntry.model_fields,
}


class DltLoadSpecModel(dg.Resolvable):
    """One load of a `DltLoadCollectionComponent`.

    Args:
        pipeline: A dlt pipeline, a function that makes one, or a reference to either.
        source: A dlt source, a function that makes one, or a reference to either.
        translation: Takes the default spec of a resource and a `DltResourceTranslatorData`, and
            gives the spec.
        partitions_def: Dagster's partitions, or a mapping as in YAML.
        backfill_policy: Dagster's policy; by default all windows of time go into one run.
        settings: All else that an entry of `loads` takes: the fields of a declared load
            (`source_module`, `source_params`, `destination`, ...) and Dagster's settings; and any
            other argument of Dagster's `multi_asset`, such as `ins` and `config_schema`, which
            replaces the fields of `DltRunConfig`.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """

    def __init__(
        self,
        pipeline: Any = None,
        source: Any = None,
        translation: "TranslationFn[DltResourceTranslatorData] | None" = None,
        partitions_def: "dg.PartitionsDefinition[Any] | Mapping[str, Any] | None" = None,
        backfill_policy: dg.BackfillPolicy | None = None,
        **settings: Any,
    ) -> None:
        self.pipeline = pipeline
        self.source = source
        self.translation = translation
        self.partitions_def = _partitions(partitions_def)
        self.backfill_policy = backfill_policy
        self.multi_asset_options = {
            name: settings.pop(name)
            for name, value in dict(settings).items()
            if name in _MULTI_ASSET_OPTIONS or isinstance(value, dg.RetryPolicy)
        }
        self.entry = _entry(settings)
        self.place: str | None = None
        if source is not None and self.entry.source_module:
            raise ConfigError("`source` and `source_module` are two sources. Keep one of them.")
        if pipeline is not None and self.entry.destination:
            raise ConfigError("`pipeline` has a destination of its own. Keep it, or `destination`.")

    def __repr__(self) -> str:
        return f"DltLoadSpecModel({self.described})"

    @property
    def described(self) -> str:
        """The load in a few words, for messages."""
        name = self.entry.name or self.entry.source_module or _name_of(self.source)
        return f"{self.place}: load {name!r}" if self.place else f"load {name!r}"

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of an entry of `loads`."""
        return LoadEntry

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Any:
        """Make the load of an entry; references are resolved, secrets stay named."""
        assert isinstance(model, LoadEntry)
        try:
            load = cls(
                pipeline=_referenced(context, model.pipeline, PIPELINE),
                source=_referenced(context, model.source, SOURCE),
                translation=_translation(context, model),
                partitions_def=_rendered_or_built(context, model, "partitions_def", _partitions),
                backfill_policy=_rendered_or_built(context, model, "backfill_policy", _policy),
                **resolve_entry(context, model),
            )
        except LoadsmithError as error:
            raise fail_at(context, str(error)) from error
        tree = context.source_position_tree
        position = tree.lookup(context.path) if tree else None
        if position is not None:
            file = _seen_from_defs(Path(position.filename), context)
            load.place = f"{file}:{position.start.line}:{position.start.col}"
        return load


def _seen_from_defs(file: Path, context: dg.ResolutionContext) -> str:
    """Return the path of a file relative to the defs folder."""
    label = Home.of(dg.ComponentLoadContext.from_resolution_context(context)).label
    return f"{label}/{file.name}" if label not in ("", ".") else file.name


def _referenced(context: dg.ResolutionContext, text: str | None, kind: str) -> Any:
    """Return the object of a reference; a template may give the object itself."""
    if text is None:
        return None
    here = context.at_path(kind)
    value = render(here, text)
    if not isinstance(value, str):
        return value
    try:
        package = ""
        if value.startswith("."):
            package = Home.of(dg.ComponentLoadContext.from_resolution_context(context)).package
        return load_reference(value, package=package, kind=kind)
    except LoadsmithError as error:
        raise fail_at(here, str(error)) from error


def _translation(context: dg.ResolutionContext, model: LoadEntry) -> Any:
    if model.translation is None:
        return None
    resolver = TranslationFnResolver[DltResourceTranslatorData](
        lambda data: {"data": data, "resource": data.resource, "pipeline": data.pipeline}
    )
    return resolver.execute(context, model, "translation")


def _rendered_or_built(
    context: dg.ResolutionContext, model: LoadEntry, name: str, build: Callable[[Any], Any]
) -> Any:
    """Return the value of a template, or the object built from the fields.

    Mistakes are raised with their line.
    """
    given = getattr(model, name)
    here = context.at_path(name)
    if isinstance(given, BaseModel):
        given = type(given)(**render(here, given.model_dump(exclude_unset=True)))
    elif given is not None:
        given = render(here, given)
    try:
        return build(given)
    except (LoadsmithError, ValueError) as error:
        raise fail_at(here, str(error)) from error


def _partitions(given: Any) -> "dg.PartitionsDefinition[Any] | None":
    if given is None or isinstance(given, dg.PartitionsDefinition):
        return given
    params = given if isinstance(given, PartitionParams) else PartitionsEntry.model_validate(given)
    return build_partitions_def(params.to_settings(), where="partitions_def")


def _policy(given: Any) -> dg.BackfillPolicy | None:
    if given is None or isinstance(given, dg.BackfillPolicy):
        return given
    policy = BackfillPolicyEntry.model_validate(given, from_attributes=True)
    if policy.type == "single_run":
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(policy.max_partitions_per_run or 1)


def _entry(settings: Mapping[str, Any]) -> LoadEntry:
    for name in settings:
        if name not in LoadEntry.model_fields:
            hint = did_you_mean(name, LoadEntry.model_fields)
            raise ConfigError(f"a load has no setting {name!r}.{hint}")
    try:
        return LoadEntry.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where + ': ' if where else ''}{first['msg']}") from error


def _name_of(value: Any) -> str:
    for name in ("name", "__name__"):
        text = getattr(value, name, None)
        if isinstance(text, str):
            return text
    return value if isinstance(value, str) else "load"
