"""`ConfigurableDltResource`: a dlt resource with its Dagster settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from loadsmith.assets.define import OpOptions, build_partitions_def, read_options
from loadsmith.config.partition_params import PartitionParams
from loadsmith.errors import ConfigError
from loadsmith.model import AssetAttributes, OpSettings
from loadsmith.names import op_name

if TYPE_CHECKING:
    from dlt.extract import DltResource

#: Key of Dagster's settings in `meta`.
META_KEY = "dagster"


@dataclass(frozen=True)
class ConfigurableDltResource:
    """A dlt resource with its Dagster settings. Make one with `config`.

    Attributes:
        resource: The dlt resource; its name is `<schema>.<table>`.
        attributes: Dagster's settings of its asset.
        source_kinds: Kinds of the system of the data.
        meta: The rest of `meta`, which becomes metadata of the asset.
        op: Settings of the op; resources with equal settings share an op.
        partitions_def: The partitions of its asset, or None for the common ones.
    """

    resource: "DltResource"
    attributes: AssetAttributes = field(default_factory=AssetAttributes)
    source_kinds: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    op: OpSettings = field(default_factory=OpSettings)
    partitions_def: "dg.PartitionsDefinition[Any] | None" = None

    @staticmethod
    def config(
        resource: "DltResource",
        kinds: Iterable[str] | None = None,
        tags: Mapping[str, str] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> "ConfigurableDltResource":
        """Give a dlt resource its Dagster settings.

        Args:
            resource: A dlt resource named `<schema>.<table>`.
            kinds: Kinds of the system that the data comes from, such as `api`; they are shown on
                the external asset upstream and, beside dlt's, on the asset itself.
            tags: Dagster tags of the asset.
            meta: Metadata of the asset. Its entry `dagster` holds settings instead:
                `automation_condition` (a name, or a `dg.AutomationCondition`),
                `automation_condition_config`, `freshness_lower_bound_delta_seconds`, `owners`,
                `group_name`, `description`, `deps`, `kinds`, `tags`, `metadata`, `checks`, and of
                the op `pool`, `op_tags`, `retry_policy`, `max_partitions_per_run`,
                `partitions_def`.

        Raises:
            ConfigError: The name has another form, or a setting is wrong.
        """
        schema, table = split_name(resource)
        given = dict(meta or {})
        place = f"resource '{schema}.{table}', meta['{META_KEY}']"
        options = read_options(OpOptions, given.pop(META_KEY, None), place=place)
        partitions = options.partitions_def
        if isinstance(partitions, PartitionParams):
            partitions = build_partitions_def(
                partitions.to_settings(), where=f"{place}.partitions_def"
            )
        own = options.to_attributes()
        named = tuple([kinds] if isinstance(kinds, str) else kinds or ())
        return ConfigurableDltResource(
            resource=resource,
            attributes=replace(
                own,
                group_name=own.group_name or op_name(schema),
                tags={**own.tags, **(tags or {})},
                kinds=tuple(dict.fromkeys((*named, *own.kinds))),
                metadata={**given, **own.metadata},
            ),
            source_kinds=named,
            meta=given,
            op=options.to_op_settings(),
            partitions_def=partitions,
        )

    @property
    def schema(self) -> str:
        """The dataset that the resource is loaded into."""
        return split_name(self.resource)[0]

    @property
    def table(self) -> str:
        """The table in the name of the resource."""
        return split_name(self.resource)[1]


def split_name(resource: Any) -> tuple[str, str]:
    """Return the schema and the table in the name of a resource.

    Raises:
        ConfigError: It is not a dlt resource, or its name has another form.
    """
    name = getattr(resource, "name", None)
    if not isinstance(name, str) or not hasattr(resource, "apply_hints"):
        raise ConfigError(
            f"{resource!r} is no dlt resource. Make one with "
            "dlt.resource(function, name='schema.table')."
        )
    schema, dot, table = name.partition(".")
    if not dot or not schema or not table or "." in table:
        raise ConfigError(
            f"resource '{name}': the name says neither dataset nor table. Call it "
            f"'schema.table', as in dlt.resource(..., name='my_dataset.{name or 'table'}')."
        )
    return schema, table
