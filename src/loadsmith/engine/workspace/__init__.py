"""Give each run a pipeline in a directory that it holds alone, with its state and cursors.

The names of directories, locks and states come from the load, its pipeline and its partition.
"""

from loadsmith.engine.workspace.connecting import (
    Connection as Connection,
    connect as connect,
    discover_within as discover_within,
)
from loadsmith.engine.workspace.cursors import (
    StoredCursor as StoredCursor,
    discard_pending as discard_pending,
    fetch_cursors as fetch_cursors,
    reset_cursors as reset_cursors,
)
from loadsmith.engine.workspace.kept import (
    Removed as Removed,
    clean_directories as clean_directories,
    drop_reported as drop_reported,
)
from loadsmith.engine.workspace.looking import (
    LookedAt as LookedAt,
    list_pending as list_pending,
    look_at_parts as look_at_parts,
)
from loadsmith.engine.workspace.names import Names as Names, digest as digest
from loadsmith.engine.workspace.open import Workspace as Workspace, open_workspace as open_workspace
from loadsmith.engine.workspace.owners import OWNER_KEY as OWNER_KEY, own_cursors as own_cursors
from loadsmith.engine.workspace.queries import refuse_writing as refuse_writing
from loadsmith.engine.workspace.rows import fetch_rows as fetch_rows
from loadsmith.engine.workspace.state import (
    fetch_state as fetch_state,
    restore_state as restore_state,
)
from loadsmith.engine.workspace.stored_states import (
    LAST as LAST,
    STATE_TABLE as STATE_TABLE,
    delete_where as delete_where,
    drop_older as drop_older,
    forget_stored as forget_stored,
    greatest_sequence as greatest_sequence,
    leaves_of as leaves_of,
    read_stored as read_stored,
    write_stored as write_stored,
)
