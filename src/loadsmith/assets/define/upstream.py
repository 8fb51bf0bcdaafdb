"""Build the external assets that stand for what sources read, and say what that is."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from loadsmith.assets.define.spec_metadata import LOAD_KEY, RESOURCE_KEY, LoadName, inputs_table
from loadsmith.engine.secrets import Redactor
from loadsmith.model import InputSnapshot, SourceReference

_NAMES_SHOWN = 8

#: Dagster's kinds, by what an address begins with, where that is another name.
_KINDS = {
    "abfss": "azure",
    "az": "azure",
    "file": "filesystem",
    "gs": "gcs",
    "mssql": "sqlserver",
    "postgresql": "postgres",
}


def build_upstream_specs(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetSpec]:
    """Build external assets, in the same groups, for dependencies that are not among the specs."""
    specs = list(specs)
    own = {spec.key for spec in specs}
    groups: dict[dg.AssetKey, str | None] = {}
    for spec in specs:
        for dep in spec.deps:
            if dep.asset_key not in own:
                groups.setdefault(dep.asset_key, spec.group_name)
    return described_sources(
        [dg.AssetSpec(key, group_name=group) for key, group in groups.items()], specs
    )


def described_sources(
    sources: Iterable[dg.AssetSpec], specs: Iterable[dg.AssetSpec]
) -> list[dg.AssetSpec]:
    """Return external assets with what is known of the sources that read them.

    Args:
        sources: The external assets; what they say themselves stays.
        specs: The assets of loads. The first that each depends on is what its source reads.
    """
    readers: dict[dg.AssetKey, list[dg.AssetSpec]] = {}
    for spec in specs:
        deps = list(spec.deps)
        if deps and isinstance(spec.metadata.get(LOAD_KEY), LoadName):
            readers.setdefault(deps[0].asset_key, []).append(spec)
    return [
        _described(source, readers[source.key]) if source.key in readers else source
        for source in sources
    ]


def _described(source: dg.AssetSpec, readers: Iterable[dg.AssetSpec]) -> dg.AssetSpec:
    resources: dict[str, dict[str, None]] = {}
    settings: dict[str, Any] = {}
    inputs: dict[InputSnapshot, None] = {}
    kinds: set[str] = set()
    for spec in readers:
        name: LoadName = spec.metadata[LOAD_KEY]
        resource = str(spec.metadata[RESOURCE_KEY])
        reference = name.definition.source
        source_name = name.snapshot.source_name
        if isinstance(reference, SourceReference):
            source_name = reference.module
            kinds.add(_kind_of_reference(reference))
            if reference.params:
                settings.setdefault(source_name, _without_secrets(reference.params))
        resources.setdefault(source_name, {})[resource] = None
        known = name.snapshot.resource(resource)
        inputs.update(dict.fromkeys(known.seen.inputs if known and known.seen else ()))
    # What a run has seen is more exact than the name of a module.
    kinds = {_kind_of_input(one) for one in inputs} or kinds
    metadata: dict[str, Any] = {}
    if settings:
        metadata["source_settings"] = dg.MetadataValue.json(settings)
    if inputs:
        metadata["inputs"] = inputs_table(inputs)
    return source.replace_attributes(
        description=source.description
        or "\n".join(_told(name, read) for name, read in resources.items()),
        kinds=source.kinds or kinds,
        metadata={**metadata, **source.metadata},
    )


def _told(source_name: str, resources: Iterable[str]) -> str:
    names = list(resources)
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    shown += f" and {more} more" if more > 0 else ""
    return f"What `{source_name}` reads: {shown}"


def _without_secrets(params: Mapping[str, Any]) -> Any:
    redactor = Redactor()
    redactor.add_params(params)
    return json.loads(json.dumps(redactor.redact_value(dict(params)), default=str))


def _kind_of_input(one: InputSnapshot) -> str:
    scheme, separator, _ = (one.location or "").partition("://")
    return _kind(one.kind if not separator or one.kind == "rest_api" else scheme)


def _kind_of_reference(reference: SourceReference) -> str:
    parts = [part for part in reference.module.split(".") if part not in ("source", "sources")]
    if parts[:1] == ["sql_database"]:
        credentials = reference.params.get("credentials")
        driver = credentials.partition("://")[0] if isinstance(credentials, str) else ""
        if isinstance(credentials, Mapping):
            driver = str(credentials.get("drivername") or "")
        return _kind(driver if driver.replace("+", "").isalnum() else parts[0])
    own = {"rest_api", "filesystem"} & set(parts[:1])
    return _kind(next(iter(own), (parts or ["dlt"])[-1].removesuffix("_source")))


def _kind(name: str) -> str:
    driver = name.partition("+")[0].lower()
    return re.sub(r"[^a-z0-9_]", "_", _KINDS.get(driver, driver))
