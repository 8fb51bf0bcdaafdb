"""Keep in the state which load a cursor belongs to, and refuse a second one."""

from collections.abc import Callable, Mapping
from typing import Any

from loadsmith.engine.workspace.cursors import RESET_KEY
from loadsmith.engine.workspace.names import digest
from loadsmith.errors import ConfigError
from loadsmith.model import LoadDefinition, RunRequest, defined_loads

#: Beside dlt's own keys in the state of a resource.
OWNER_KEY = "loadsmith_owner"


def own_cursors(
    pipeline: Any,
    source_name: str,
    arguments: Mapping[str, str | None],
    definition: LoadDefinition,
    request: RunRequest,
) -> Callable[[Any], None]:
    """Return what writes down that states belong to a load; the state of 0.1 does not say it.

    Two loads that use one pipeline name, source and resource share its cursor, and what its code
    keeps in dlt's state by hand. If they call the
    source with other arguments, the second would skip rows, so it is refused. Where the arguments
    cannot be compared, a load that was renamed looks the same: that is refused only where the other
    load is still defined, or comes back.

    Args:
        pipeline: The pipeline of the run.
        source_name: dlt's name of the source.
        arguments: The arguments that each resource or feed of the run was made with, as text;
            None where nobody knows them.
        definition: The load.
        request: Takes the warning.

    Raises:
        ConfigError: A cursor belongs to another load.
    """
    load = definition.whole or definition.name
    states = pipeline.state.get("sources", {}).get(source_name, {}).get("resources", {})
    # The cursors of a window go on from no state; a list that a source keeps by hand does.
    free = {OWNER_KEY, RESET_KEY, *(("incremental",) if request.window is not None else ())}
    entries: dict[str, dict[str, Any]] = {}
    for name, text in arguments.items():
        mine = {
            "load": load,
            "place": definition.place,
            "arguments": digest(text) if text is not None else None,
        }
        # A cursor that was reset is nobody's.
        is_kept = bool(states.get(name, {}).keys() - free)
        owner: Mapping[str, Any] = (states[name].get(OWNER_KEY) if is_kept else None) or mine
        before = [former for former in owner.get("before", ()) if former != load]
        is_same = mine["arguments"] is not None and mine["arguments"] == owner["arguments"]
        if owner["load"] != load and not is_same:
            is_known = None not in (mine["arguments"], owner["arguments"])
            if is_known or owner["load"] in defined_loads() or load in owner.get("before", ()):
                raise ConfigError(_refusal(name, source_name, mine, owner))
            request.warn(
                f"the cursor of '{name}' was moved by {_named(owner)} until now. If that load was"
                " renamed, all is well. If it loads other rows, give each load a pipeline name of"
                " its own."
            )
            before.append(owner["load"])
        entries[name] = {**mine, "before": before} if before else mine

    def change(state: Any) -> None:
        kept = state.get("sources", {}).get(source_name, {}).get("resources", {})
        for name, entry in entries.items():
            own = kept.get(name, {})
            if own.keys() - free and own.get(OWNER_KEY) != entry:
                own[OWNER_KEY] = entry

    return change


def _refusal(
    resource: str, source_name: str, mine: Mapping[str, Any], owner: Mapping[str, Any]
) -> str:
    is_known = mine["arguments"] is not None and owner["arguments"] is not None
    how = "with other arguments" if is_known else "with arguments that cannot be compared"
    return (
        f"{_named(mine)} and {_named(owner)} use one pipeline name and load the resource"
        f" '{resource}' of the source '{source_name}', {how}: they would share its"
        f" cursor, and each would skip rows. The cursor belongs to {_named(owner)}. Give the load"
        f" '{mine['load']}' a pipeline name of its own. If it is the same load under a new name,"
        f" load it once with its former arguments; or forget the cursor with `loadsmith state"
        f" reset`, and the next run loads all rows."
    )


def _named(owner: Mapping[str, Any]) -> str:
    place = f" ({owner['place']})" if owner["place"] else ""
    return f"the load '{owner['load']}'{place}"
