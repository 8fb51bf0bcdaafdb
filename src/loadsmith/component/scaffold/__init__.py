"""Write the files of a new component, from `dg scaffold defs` or a folder of `dlt init`."""

from loadsmith.component.scaffold.scaffolder import (
    DltLoadCollectionScaffolder as DltLoadCollectionScaffolder,
)
