"""Assets of `dlt_assets` in, their freshness checks and the sensor that evaluates them out."""

from collections.abc import Mapping, Sequence

import dagster as dg

from loadsmith.assets._dagster import build_freshness_checks, build_freshness_sensor
from loadsmith.assets.define import RESOURCE_KEY, check_seconds
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.names import op_name


def build_freshness_definitions(
    assets: dg.AssetsDefinition | Sequence[dg.AssetsDefinition],
    lower_bound_delta_seconds: float | Mapping[str, float],
) -> dg.Definitions:
    """Build freshness checks for assets of `dlt_assets`, and the sensor that evaluates them.

    Merge them with the definitions that hold the assets: `dg.Definitions.merge(...)`.

    Args:
        assets: What `dlt_assets` made; whatever their keys have become since.
        lower_bound_delta_seconds: Age in seconds from which the check of an asset fails: one for
            all assets, or one by name of the dlt resource.

    Raises:
        ConfigError: A number of seconds is none, or the assets have no such resource.
    """
    many = [assets] if isinstance(assets, dg.AssetsDefinition) else list(assets)
    resources: dict[str, list[dg.AssetKey]] = {}
    for asset in many:
        for spec in asset.specs:
            if RESOURCE_KEY in spec.metadata:
                resources.setdefault(str(spec.metadata[RESOURCE_KEY]), []).append(spec.key)
    given = lower_bound_delta_seconds
    by_resource = given if isinstance(given, Mapping) else dict.fromkeys(resources, given)
    by_seconds: dict[float, list[dg.AssetKey]] = {}
    for name, seconds in by_resource.items():
        where = f"resource '{name}', lower_bound_delta_seconds"
        if name not in resources:
            raise ConfigError(
                f"{where}: the assets have no resource of that name."
                f"{did_you_mean(name, resources) or ' There is: ' + ', '.join(resources) + '.'}"
            )
        keys = by_seconds.setdefault(check_seconds(seconds, where=where), [])
        keys.extend(resources[name])
    checks = [
        check
        for seconds, keys in by_seconds.items()
        for check in build_freshness_checks(keys, seconds)
    ]
    if not checks:
        raise ConfigError(
            "build_freshness_definitions: no asset here was made by dlt_assets. Give it what "
            "dlt_assets returned."
        )
    name = f"{op_name('_'.join(asset.op.name for asset in many))}_freshness"
    return dg.Definitions(asset_checks=checks, sensors=[build_freshness_sensor(checks, name)])
