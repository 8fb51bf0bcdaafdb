"""Load each row once, whatever dies on the way.

A run writes down each package in a ledger beside the data before it loads the first row. The next
run reads the ledger, and completes or undoes what a dead run left.
"""

from loadsmith.engine.once.blocked import watched as watched
from loadsmith.engine.once.entry import LEDGER_TABLE as LEDGER_TABLE
from loadsmith.engine.once.packages import RunPackages as RunPackages
from loadsmith.engine.once.recovery import (
    Recovery as Recovery,
    is_token_given_up as is_token_given_up,
)
from loadsmith.engine.once.reload import Reload as Reload
from loadsmith.engine.once.ways import Ways as Ways, names_by_table as names_by_table
