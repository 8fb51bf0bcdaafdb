"""Build freshness checks for the assets of loads, and the sensors that evaluate them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import dagster as dg

from loadsmith.assets._dagster import build_freshness_checks, build_freshness_sensor
from loadsmith.assets.define import RESOURCE_KEY, check_seconds
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.model import LoadDefinition
from loadsmith.names import op_name

Freshness: TypeAlias = tuple[list[dg.AssetChecksDefinition], list[dg.SensorDefinition]]


def build_freshness(definition: LoadDefinition, specs: Iterable[dg.AssetSpec]) -> Freshness:
    """Build the freshness checks of a load, and the sensor that evaluates them when they are due.

    Raises:
        ConfigError: A number of seconds is none.
    """
    resources = _keys_by_resource(specs)
    seconds_by_resource = {
        resource: seconds
        for resource in resources
        if (seconds := definition.attributes_of(resource).freshness_lower_bound_delta_seconds)
        is not None
    }
    field = "freshness_lower_bound_delta_seconds"
    return _build(resources, seconds_by_resource, field, name=definition.name)


def build_freshness_definitions(
    assets: dg.AssetsDefinition | Sequence[dg.AssetsDefinition],
    lower_bound_delta_seconds: float | Mapping[str, float],
) -> dg.Definitions:
    """Build freshness checks for assets of `dlt_assets`, and the sensor that evaluates them.

    Merge them with the definitions that hold the assets: `dg.Definitions.merge(...)`.

    Args:
        assets: What `dlt_assets` made; their keys may have changed since.
        lower_bound_delta_seconds: Age in seconds from which the check of an asset fails: one for
            all assets, or one by name of the dlt resource.

    Raises:
        ConfigError: A number of seconds is none, or the assets have no such resource.
    """
    many = [assets] if isinstance(assets, dg.AssetsDefinition) else list(assets)
    resources = _keys_by_resource(spec for asset in many for spec in asset.specs)
    given = lower_bound_delta_seconds
    by_resource = given if isinstance(given, Mapping) else dict.fromkeys(resources, given)
    name = op_name("_".join(asset.op.name for asset in many))
    checks, sensors = _build(resources, by_resource, "lower_bound_delta_seconds", name=name)
    if not checks:
        raise ConfigError(
            "build_freshness_definitions: no asset here was made by dlt_assets. Give it what "
            "dlt_assets returned."
        )
    return dg.Definitions(asset_checks=checks, sensors=sensors)


def _keys_by_resource(specs: Iterable[dg.AssetSpec]) -> dict[str, list[dg.AssetKey]]:
    keys: dict[str, list[dg.AssetKey]] = {}
    for spec in specs:
        if RESOURCE_KEY in spec.metadata:
            keys.setdefault(str(spec.metadata[RESOURCE_KEY]), []).append(spec.key)
    return keys


def _build(
    resources: Mapping[str, Sequence[dg.AssetKey]],
    seconds_by_resource: Mapping[str, float],
    field: str,
    *,
    name: str,
) -> Freshness:
    by_seconds: dict[float, list[dg.AssetKey]] = {}
    for resource, seconds in seconds_by_resource.items():
        where = f"resource '{resource}', {field}"
        if resource not in resources:
            raise ConfigError(
                f"{where}: the assets have no resource of that name."
                f"{did_you_mean(resource, resources) or ' There is: ' + ', '.join(resources) + '.'}"
            )
        keys = by_seconds.setdefault(check_seconds(seconds, where=where), [])
        keys.extend(resources[resource])
    checks = [
        check
        for seconds, keys in by_seconds.items()
        for check in build_freshness_checks(keys, seconds)
    ]
    return checks, [build_freshness_sensor(checks, f"{name}_freshness")] if checks else []
