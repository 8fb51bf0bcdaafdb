"""The component, its scaffolder, and one load of it: the front door of `defs.yaml`."""

from loadsmith.component.component import DltLoadCollectionComponent
from loadsmith.component.load_spec import DltLoadSpecModel

__all__ = ["DltLoadCollectionComponent", "DltLoadSpecModel"]
