"""The front door of Python lists: Dagster definitions from dlt resources."""

from loadsmith.factory.definitions import DagsterDltFactory
from loadsmith.factory.resource import ConfigurableDltResource

__all__ = ["ConfigurableDltResource", "DagsterDltFactory"]
