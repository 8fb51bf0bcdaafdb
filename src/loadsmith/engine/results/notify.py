"""Send schema changes to a Slack channel, with dlt's helper."""

from collections.abc import Callable, Sequence

from loadsmith.model import SchemaChange

# The first load of a large source changes everything, and nobody reads long chat messages.
_MOST_LINES = 30


def notify_schema_changes(
    load: str, changes: Sequence[SchemaChange], warn: Callable[[str], None]
) -> bool:
    """Send schema changes to dlt's `runtime.slack_incoming_hook`, if one is set.

    A message that cannot be sent is a warning, never a failed load.

    Returns:
        Whether a message was sent.
    """
    if not changes:
        return False
    import dlt
    from dlt.common.runtime.slack import send_slack_message

    hook: object = dlt.secrets.get("runtime.slack_incoming_hook") or dlt.config.get(
        "runtime.slack_incoming_hook"
    )
    if not hook:
        return False
    import requests

    try:
        send_slack_message(str(hook), schema_changes_text(load, changes))
    except requests.RequestException as error:
        # The text of the error holds the address, which is a secret.
        warn(f"the schema changes could not be sent to Slack: {type(error).__name__}")
        return False
    return True


def schema_changes_text(load: str, changes: Sequence[SchemaChange]) -> str:
    """Return schema changes as lines of a message."""
    lines = [f"*{load}* changed the schema:"]
    for change in changes[:_MOST_LINES]:
        name = f"`{change.table}.{change.column}`" if change.column else f"`{change.table}`"
        types = " to ".join(part for part in (change.before, change.after) if part)
        lines.append(f"- {change.kind_text} {name}" + (f": {types}" if types else ""))
    if len(changes) > _MOST_LINES:
        lines.append(f"- and {len(changes) - _MOST_LINES} more")
    return "\n".join(lines)
