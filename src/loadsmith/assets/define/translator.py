"""The translator, which users override to change how dlt resources become assets."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from loadsmith.assets.define.automation import build_automation_condition
from loadsmith.assets.define.keys import key_part
from loadsmith.errors import TranslationError
from loadsmith.model import AssetAttributes, LoadDefinition, ResourceSnapshot

# Dagster refuses a spec with more kinds.
_MOST_KINDS = 10

_PUBLIC_METHODS = {
    "_resolve_back_compat_method": "self.get_...(resource)",
    "_default_deps_fn": "super().get_deps_asset_keys(resource)",
    "_default_kinds_fn": "super().get_kinds(resource, destination)",
    **{
        f"_default_{name}_fn": f"super().get_{name}(resource)"
        for name in (
            "asset_key",
            "auto_materialize_policy",
            "automation_condition",
            "description",
            "group_name",
            "metadata",
            "owners",
            "tags",
        )
    },
}


@dataclass(frozen=True)
class DestinationView:
    """Stands for a destination that is not made yet, with the attribute names of dlt's."""

    destination_name: str | None
    destination_type: str | None = None


@dataclass(frozen=True)
class PipelineView:
    """Stands for a pipeline that is not made yet, with the attribute names of dlt's."""

    pipeline_name: str | None
    dataset_name: str | None
    destination: DestinationView | None


@dataclass(frozen=True)
class DltResourceTranslatorData:
    """What a translator translates.

    Attributes:
        resource: The live dlt resource, or else a `ResourceSnapshot` with the same attribute names.
        pipeline: The live dlt pipeline, or else an object with its names.
        attributes: Dagster settings of the front door for this resource.
        definition: The load of the resource.
        snapshot: The resource as plain data.
        parent_key: Key of the asset that feeds this resource, if there is such an asset.
        default_key: Key that the front door gives instead of `get_asset_key`, or None.
        default_deps: Upstream keys that the front door gives instead of `get_deps_asset_keys`, or
            None.
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
    """Decides how a dlt resource becomes an asset. Override `get_asset_spec` or another method.

    An overridden method always wins over the settings of the front door. `get_kinds` takes the
    resource and the destination, or only the resource.
    """

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """Build the spec of the asset of a resource.

        Raises:
            TranslationError: A method of the translator returned something that Dagster refuses.
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

    def __getattr__(self, name: str) -> Any:
        """Name the public method for a private one of dagster-dlt.

        Raises:
            TranslationError: dagster-dlt has a method of this name.
            AttributeError: Nothing has.
        """
        public = _PUBLIC_METHODS.get(name)
        if public is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise TranslationError(
            f"{type(self).__name__}: {name} is a private method of dagster-dlt. Call {public}, or"
            " begin with super().get_asset_spec(data) and change what it gives."
        )

    def get_asset_key(self, resource: Any) -> dg.AssetKey:
        """Return the key of the asset: `dlt_<source>_<resource>`."""
        return dg.AssetKey(f"dlt_{resource.source_name}_{key_part(resource.name)}")

    def get_deps_asset_keys(self, resource: Any) -> Iterable[dg.AssetKey]:
        """Return the upstream key: `<source>_<resource>`, for a transformer that of its root."""
        if isinstance(resource, ResourceSnapshot):
            root = resource.upstream or resource.name
        else:
            # The resource is live, so dlt was imported before.
            from loadsmith.engine.dlt_hooks import root_name

            root = root_name(resource)
        return [dg.AssetKey(f"{resource.source_name}_{key_part(root)}")]

    def get_description(self, resource: Any) -> str | None:
        """Return the description: the docstring of the resource."""
        if isinstance(resource, ResourceSnapshot):
            return resource.description
        from loadsmith.engine.dlt_hooks import description_of

        return description_of(resource)

    def get_group_name(self, resource: Any) -> str | None:
        """Return the group, or None for the group of the front door."""
        return None

    def get_metadata(self, resource: Any) -> Mapping[str, Any]:
        """Return plain data to add to loadsmith's metadata."""
        return {}

    def get_owners(self, resource: Any) -> Sequence[str] | None:
        """Return the owners, or None for the owners of the front door."""
        return None

    def get_tags(self, resource: Any) -> Mapping[str, str]:
        """Return tags to add to those of the front door."""
        return {}

    def get_kinds(self, resource: Any, destination: Any = None) -> set[str]:
        """Return the kinds: `dlt` and the name of the destination."""
        name = getattr(destination, "destination_name", None)
        return {"dlt", name} if name else {"dlt"}

    def get_auto_materialize_policy(self, resource: Any) -> Any:
        """Return an `AutoMaterializePolicy`, which becomes a condition, or None."""
        return None

    def get_automation_condition(self, resource: Any) -> Any:
        """Return the condition, by default from `get_auto_materialize_policy`, or None."""
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
        implementation = getattr(type(self), method)
        return implementation is not getattr(DagsterDltTranslator, method) or method in vars(self)

    def _prefer(self, method: str, resource: Any, setting: Any) -> Any:
        """Return an overridden method's value, else the front door's setting or the default."""
        value = getattr(self, method)(resource)
        if self._overrides(method) and value is not None:
            return value
        return setting if setting is not None else value

    def _ask(self, method: str, *args: Any) -> Any:
        """Call a method with as many of `args` as its signature accepts."""
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
