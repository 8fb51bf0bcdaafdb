"""Turn what dlt reports about a run into a `LoadResult`, and its errors into a `RunError`.

What dlt does not report is read from the destination.
"""

from typing import TYPE_CHECKING

from loadsmith.lazy import names_on_first_use

if TYPE_CHECKING:
    from loadsmith.engine.results.collect import (
        cursor_results as cursor_results,
        cursors_in as cursors_in,
        job_records as job_records,
        known_types as known_types,
        schema_changes as schema_changes,
        table_results as table_results,
    )
    from loadsmith.engine.results.discards import discard_results as discard_results
    from loadsmith.engine.results.dropped import (
        dropped_from as dropped_from,
        is_of_missing as is_of_missing,
    )
    from loadsmith.engine.results.failures import (
        run_error as run_error,
        run_error_of_all as run_error_of_all,
    )
    from loadsmith.engine.results.fetch import (
        KeyCounts as KeyCounts,
        fetch_key_counts as fetch_key_counts,
        fetch_preview as fetch_preview,
        fetch_row_counts as fetch_row_counts,
        fetch_rows_by_window as fetch_rows_by_window,
        window_in_sql as window_in_sql,
    )
    from loadsmith.engine.results.filled import FilledColumns as FilledColumns
    from loadsmith.engine.results.inputs import origins_of as origins_of
    from loadsmith.engine.results.notify import notify_schema_changes as notify_schema_changes
    from loadsmith.engine.results.progress import LogProgress as LogProgress
    from loadsmith.engine.results.rows import (
        Rows as Rows,
        columns_of_dlt as columns_of_dlt,
        plain_rows as plain_rows,
        rows_of_query as rows_of_query,
        select_of as select_of,
        without as without,
    )

__getattr__ = names_on_first_use(__name__)
