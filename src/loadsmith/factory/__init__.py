"""dlt resources with Dagster settings in, definitions out: a list of them is a whole project."""

from loadsmith.factory.definitions import DagsterDltFactory
from loadsmith.factory.resource import ConfigurableDltResource

__all__ = ["ConfigurableDltResource", "DagsterDltFactory"]
