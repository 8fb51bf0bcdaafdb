"""Make the destination of a load, and find out what it can do.

DuckDB and PostgreSQL get clients that load faster and keep values exact.
"""

from typing import TYPE_CHECKING

from loadsmith.lazy import names_on_first_use

if TYPE_CHECKING:
    from loadsmith.engine.destinations.duckdb import (
        default_limit as default_limit,
        limit_of_user as limit_of_user,
        make_room as make_room,
    )
    from loadsmith.engine.destinations.make import (
        DestinationTraits as DestinationTraits,
        check_destination as check_destination,
        configured_file_format as configured_file_format,
        dataset_of as dataset_of,
        destination_dataset as destination_dataset,
        exact as exact,
        keep_file_formats as keep_file_formats,
        make_destination as make_destination,
        name_problem as name_problem,
        own_credentials as own_credentials,
        prefer_fastest_file_format as prefer_fastest_file_format,
        refuse_ambiguous_dataset as refuse_ambiguous_dataset,
        table_locations as table_locations,
        traits as traits,
    )
    from loadsmith.engine.destinations.named import named_destination as named_destination
    from loadsmith.engine.destinations.params import (
        absolute_sqlite as absolute_sqlite,
        destination_problems as destination_problems,
    )

__getattr__ = names_on_first_use(__name__)
