"""A query of a user in; a refusal out where it would do more than read."""

import logging

from loadsmith.errors import SelectionError

#: What sqlglot calls the parts of statements that change something.
_WRITES = (
    "Alter", "Analyze", "Attach", "Command", "Copy", "Create", "Delete", "Detach", "Drop", "Export",
    "Insert", "Install", "Into", "Kill", "Lock", "Merge", "Pragma", "Set", "Transaction", "Commit",
    "Rollback", "TruncateTable", "Update", "Use",
)  # fmt: skip


def refuse_writing(sql: str, dialect: str | None) -> None:
    """Refuse a text that is not a single query that only reads.

    Args:
        sql: The text.
        dialect: The dialect, as sqlglot calls it.

    Raises:
        SelectionError: It is no query, there are several, or it would write.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    # It warns of each statement that it does not know, and those are refused here.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = [one for one in sqlglot.parse(sql, dialect=dialect) if one is not None]
    except (SqlglotError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise SelectionError(f"--sql: this is no query: {reason}") from None
    if len(statements) != 1:
        raise SelectionError(f"--sql: one query is asked at a time, not {len(statements)}.")
    (statement,) = statements
    written = [
        node
        for name in _WRITES
        if (kind := getattr(exp, name, None)) is not None
        for node in statement.find_all(kind)
    ]
    if written or not isinstance(statement, exp.Query | exp.Describe | exp.Show):
        word = (written[0] if written else statement).key.upper()
        raise SelectionError(
            f"--sql: this would do more than read ({word}). Write a SELECT; change rows with a "
            "program of the database."
        )
