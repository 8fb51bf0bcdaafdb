"""Check the list of hooks against the dlt that is installed."""

from collections.abc import Callable
from importlib.metadata import version

from loadsmith.engine.dlt_hooks.hooks import HOOKS, NEWEST
from loadsmith.engine.dlt_hooks.register import (
    UNTESTED_VARIABLE,
    Difference,
    Hook,
    differences_of_hook,
)
from loadsmith.errors import RunError

#: Where a run is when it finds out that dlt does not call a hook, unless it extracts.
_STAGES = {"load": "load", "resolved secrets": "sync", "asked secrets": "sync"}


def differences(destination: str | None) -> list[Difference]:
    """Return the first difference of each hook that matters for a type of destination."""
    return [
        found[0]
        for hook in HOOKS
        if hook.destination in (None, destination) and (found := differences_of_hook(hook))
    ]


def check_hooks(destination: str | None, load: str, warn: Callable[[str], None]) -> None:
    """Warn of each difference of the installed dlt that matters for a load.

    Raises:
        RunError: What the load promises may not hold with this dlt.
    """
    for difference in differences(destination):
        if difference.is_error:
            raise _error(difference, load)
        warn(str(difference))


def missing() -> RunError | None:
    """Return the error for the first name that the installed dlt lacks; None if it lacks none.

    It stands for an error of an import, which names neither what is lost nor what to do.
    """
    found = (difference for hook in HOOKS for difference in differences_of_hook(hook)[:1])
    absent = (difference for difference in found if difference.actual is None)
    first = min(absent, key=lambda difference: not difference.is_error, default=None)
    return _error(first) if first else None


def _error(difference: Difference, load: str = "") -> RunError:
    escape = f", or set {UNTESTED_VARIABLE}=1 to run all the same" if difference.actual else ""
    place = f"load '{load}': " if load else ""
    return RunError(f"{place}{difference} Install dlt {NEWEST}{escape}.", stage="sync", load=load)


def is_proven(name: str) -> bool:
    """Tell whether all functions of the hook of that name are as in a tested version."""
    return not differences_of_hook(hook_of(name))


def hook_of(name: str) -> Hook:
    """Return the hook of that name."""
    return next(hook for hook in HOOKS if hook.name == name)


def not_called(name: str) -> RunError:
    """Return the error for a hook that dlt did not come to, though it did what the hook is for."""
    hook = hook_of(name)
    return RunError(
        f"dlt {version('dlt')} did not call what loadsmith has put in the place of"
        f" `{hook.target}`. {hook.lost}. Install dlt {NEWEST}, and report this.",
        stage=_STAGES.get(name, "extract"),
        load="",
    )
