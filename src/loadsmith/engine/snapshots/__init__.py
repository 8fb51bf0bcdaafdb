"""Say what a load will bring before it runs, as a `LoadSnapshot`.

It comes from a schema file, from earlier runs, or from the source itself.
"""

from typing import TYPE_CHECKING

from loadsmith.lazy import names_on_first_use

if TYPE_CHECKING:
    from loadsmith.engine.snapshots.found import (
        Found as Found,
        discover_source as discover_source,
    )
    from loadsmith.engine.snapshots.inspect import (
        default_table_name as default_table_name,
        inspect_load as inspect_load,
        inspect_source as inspect_source,
        read_snapshot as read_snapshot,
        root_tables_of as root_tables_of,
        sent_by_run as sent_by_run,
        write_snapshot as write_snapshot,
    )
    from loadsmith.engine.snapshots.seen import with_seen as with_seen, write_seen as write_seen

__getattr__ = names_on_first_use(__name__)
