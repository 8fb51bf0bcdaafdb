"""One dlt resource and what Dagster is to know of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loadsmith.assets.specs import op_name
from loadsmith.errors import ConfigError
from loadsmith.factory.settings import META_KEY, read_settings
from loadsmith.model import AssetAttributes

if TYPE_CHECKING:
    from dlt.extract import DltResource


@dataclass(frozen=True)
class ConfigurableDltResource:
    """A dlt resource and what Dagster is to know of it. Make one with `config`.

    Attributes:
        resource: The dlt resource; its name is `<schema>.<table>`.
        attributes: Dagster's settings of its asset.
        source_kinds: Kinds of the system that it comes from.
        meta: The rest of `meta`, which becomes metadata of the asset.
    """

    resource: "DltResource"
    attributes: AssetAttributes = field(default_factory=AssetAttributes)
    source_kinds: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

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
                `automation_condition`, `automation_condition_config`,
                `freshness_lower_bound_delta_seconds`, `owners`, `group_name`, `description`,
                `deps`, `checks`.

        Raises:
            ConfigError: The name has another form, or a setting is wrong.
        """
        schema, table = split_name(resource)
        given = dict(meta or {})
        settings = read_settings(f"{schema}.{table}", given.pop(META_KEY, None))
        own = settings.to_attributes()
        named = tuple([kinds] if isinstance(kinds, str) else kinds or ())
        return ConfigurableDltResource(
            resource=resource,
            attributes=AssetAttributes(
                group_name=own.group_name or op_name(schema),
                description=own.description,
                owners=own.owners,
                tags={**own.tags, **(tags or {})},
                kinds=tuple(dict.fromkeys((*named, *own.kinds))),
                deps=own.deps,
                metadata={**given, **own.metadata},
                automation_condition=own.automation_condition,
                automation_condition_config=own.automation_condition_config,
                freshness_lower_bound_delta_seconds=own.freshness_lower_bound_delta_seconds,
                checks=own.checks,
            ),
            source_kinds=named,
            meta=given,
        )

    @property
    def schema(self) -> str:
        """The dataset that the resource is loaded into."""
        return split_name(self.resource)[0]

    @property
    def table(self) -> str:
        """The table of the resource, as its name has it."""
        return split_name(self.resource)[1]


def split_name(resource: Any) -> tuple[str, str]:
    """Return the schema and the table that the name of a resource says.

    Raises:
        ConfigError: It is no dlt resource, or its name has another form.
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
