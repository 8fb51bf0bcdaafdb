"""Snapshot in, AssetSpec out: how dlt's words become Dagster's; the one thing users override."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from loadsmith.assets.define.automation import build_automation_condition
from loadsmith.errors import TranslationError
from loadsmith.model import AssetAttributes, LoadDefinition, ResourceSnapshot

# Dagster's own limit: a spec with more is refused.
_MOST_KINDS = 10


@dataclass(frozen=True)
class DestinationView:
    """A destination by name, with the attribute names of dlt's, where none is made yet."""

    destination_name: str | None
    destination_type: str | None = None


@dataclass(frozen=True)
class PipelineView:
    """A pipeline by name, with the attribute names of dlt's, where none is made yet."""

    pipeline_name: str | None
    dataset_name: str | None
    destination: DestinationView | None


@dataclass(frozen=True)
class DltResourceTranslatorData:
    """What a translator is asked about.

    Attributes:
        resource: The live dlt resource where there is one; else a `ResourceSnapshot`, which has
            the same attribute names.
        pipeline: The live dlt pipeline where there is one; else its names alone.
        attributes: Dagster settings that the front door has for this resource.
        definition: The load that the resource belongs to.
        snapshot: The resource as plain data, whatever `resource` is.
        parent_key: Key of the asset of the resource that feeds this one, if it has an asset.
        default_key: Key that the front door gives, where it is not that of `get_asset_key`.
        default_deps: What the front door says that the resource is made from, likewise.
    """

    resource: Any
    pipeline: Any
    attributes: AssetAttributes = field(default_factory=AssetAttributes)
    definition: LoadDefinition | None = None
    snapshot: ResourceSnapshot | None = None
    parent_key: dg.AssetKey | None = None
    default_key: dg.AssetKey | None = None
    default_deps: tuple[dg.AssetKey, ...] | None = None

    @property
    def destination(self) -> Any:
        """The destination of the pipeline, live or by name, or None."""
        return getattr(self.pipeline, "destination", None)


class DagsterDltTranslator:
    """Say how a dlt resource becomes an asset: override `get_asset_spec`, or one of the others.

    An overridden method is always honoured, and wins over the settings of the front door.
    `get_kinds` takes the resource and the destination, or the resource alone.
    """

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """Build the spec of the asset of one resource.

        Raises:
            TranslationError: A method of the translator gave something that Dagster refuses.
        """
        resource, attributes = data.resource, data.attributes
        kinds = set(self._ask("get_kinds", resource, data.destination) or ())
        key, deps = data.default_key, data.default_deps
        if key is None or self._overrides("get_asset_key"):
            key = self.get_asset_key(resource)
        if deps is None or self._overrides("get_deps_asset_keys"):
            deps = tuple(self.get_deps_asset_keys(resource) or ())
        if not self._overrides("get_deps_asset_keys") and data.parent_key is not None:
            deps = (*deps, data.parent_key)
        deps = (*deps, *(dg.AssetKey.from_user_string(dep) for dep in attributes.deps))
        if len(kinds | set(attributes.kinds)) <= _MOST_KINDS:
            kinds |= set(attributes.kinds)
        try:
            return dg.AssetSpec(
                key=key,
                deps=list(dict.fromkeys(deps)),
                description=self._prefer("get_description", resource, attributes.description),
                group_name=self._prefer("get_group_name", resource, attributes.group_name),
                owners=self._prefer("get_owners", resource, attributes.owners or None),
                metadata={**attributes.metadata, **(self.get_metadata(resource) or {})},
                tags={**attributes.tags, **(self.get_tags(resource) or {})},
                kinds=kinds,
                automation_condition=self._automation_condition(data),
            )
        except (dg.DagsterError, ValueError, TypeError) as error:
            name = getattr(resource, "name", resource)
            raise TranslationError(
                f"{type(self).__name__}, resource '{name}': {error} Fix the translator or the "
                "settings of the resource."
            ) from error

    def get_asset_key(self, resource: Any) -> dg.AssetKey:
        """Return the key of the asset: `dlt_<source>_<resource>`."""
        return dg.AssetKey(f"dlt_{resource.source_name}_{resource.name}")

    def get_deps_asset_keys(self, resource: Any) -> Iterable[dg.AssetKey]:
        """Return what the asset is made from: `<source>_<resource>`, a transformer's root."""
        if isinstance(resource, ResourceSnapshot):
            root = resource.upstream or resource.name
        else:
            # A live resource is at hand, so dlt is imported already.
            from loadsmith.engine.dlt_hooks import root_name

            root = root_name(resource)
        return [dg.AssetKey(f"{resource.source_name}_{root}")]

    def get_description(self, resource: Any) -> str | None:
        """Return the description: the docstring of the resource."""
        if isinstance(resource, ResourceSnapshot):
            return resource.description
        from loadsmith.engine.dlt_hooks import description_of

        return description_of(resource)

    def get_group_name(self, resource: Any) -> str | None:
        """Return the group, or None for that of the front door."""
        return None

    def get_metadata(self, resource: Any) -> Mapping[str, Any]:
        """Return metadata of the spec beside loadsmith's own; plain data."""
        return {}

    def get_owners(self, resource: Any) -> Sequence[str] | None:
        """Return the owners, or None for those of the front door."""
        return None

    def get_tags(self, resource: Any) -> Mapping[str, str]:
        """Return tags beside those of the front door."""
        return {}

    def get_kinds(self, resource: Any, destination: Any = None) -> set[str]:
        """Return the kinds: `dlt` and the name of the destination."""
        name = getattr(destination, "destination_name", None)
        return {"dlt", name} if name else {"dlt"}

    def get_auto_materialize_policy(self, resource: Any) -> Any:
        """Return a policy of the older kind, which is turned into a condition, or None."""
        return None

    def get_automation_condition(self, resource: Any) -> Any:
        """Return the condition: what `get_auto_materialize_policy` says, or None."""
        policy = self.get_auto_materialize_policy(resource)
        return policy.to_automation_condition() if policy is not None else None

    def _automation_condition(self, data: DltResourceTranslatorData) -> Any:
        condition = self.get_automation_condition(data.resource)
        asked = data.attributes.automation_condition
        if condition is not None or not asked:
            return condition
        if callable(asked):
            return asked()
        config = data.attributes.automation_condition_config
        return build_automation_condition(asked, config, where=_where(data))

    def _overrides(self, method: str) -> bool:
        own = getattr(type(self), method)
        return own is not getattr(DagsterDltTranslator, method) or method in vars(self)

    def _prefer(self, method: str, resource: Any, setting: Any) -> Any:
        """Return what an overridden method says, else the front door's setting or the default."""
        value = getattr(self, method)(resource)
        if self._overrides(method) and value is not None:
            return value
        return setting if setting is not None else value

    def _ask(self, method: str, *args: Any) -> Any:
        """Call a method with as many of `args` as its signature takes."""
        bound: Callable[..., Any] = getattr(self, method)
        parameters = inspect.signature(bound).parameters.values()
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            return bound(*args)
        taken = sum(
            parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            for parameter in parameters
        )
        return bound(*args[:taken])


def _where(data: DltResourceTranslatorData) -> str:
    place = data.definition.place if data.definition else None
    name = f"resource '{getattr(data.resource, 'name', data.resource)}'"
    return f"{place}: {name}" if place else name
