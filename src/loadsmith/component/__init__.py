"""The front door of `defs.yaml`: the component, its loads and its scaffolder."""

from loadsmith.component.component import DltLoadCollectionComponent
from loadsmith.component.load_spec import DltLoadSpecModel

__all__ = ["DltLoadCollectionComponent", "DltLoadSpecModel"]
