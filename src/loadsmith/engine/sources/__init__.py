"""Make the source of a load from a reference, a function or a live object.

The room also knows which resource feeds which, and binds cursors to the window of a run.
"""

from typing import TYPE_CHECKING

from loadsmith.lazy import names_on_first_use

if TYPE_CHECKING:
    from loadsmith.engine.sources.empty import watched_for_rows as watched_for_rows
    from loadsmith.engine.sources.feeds import feeds_of as feeds_of, values_of as values_of
    from loadsmith.engine.sources.find import (
        OWN_SOURCES as OWN_SOURCES,
        make_source as make_source,
        select_resources as select_resources,
        source_problems as source_problems,
    )
    from loadsmith.engine.sources.panics import (
        PanicError as PanicError,
        panics_as_errors as panics_as_errors,
    )
    from loadsmith.engine.sources.recipes import (
        ByPartition as ByPartition,
        Live as Live,
        live_resources as live_resources,
        look_at_pipeline as look_at_pipeline,
        make_pipeline as make_pipeline,
        recipe_of as recipe_of,
        takes_partition as takes_partition,
    )
    from loadsmith.engine.sources.sql import (
        argument_of as argument_of,
        database_engine as database_engine,
        is_sql_database as is_sql_database,
        listed_ways as listed_ways,
    )
    from loadsmith.engine.sources.windows import (
        bound_to_window as bound_to_window,
        is_utc as is_utc,
    )

__getattr__ = names_on_first_use(__name__)
