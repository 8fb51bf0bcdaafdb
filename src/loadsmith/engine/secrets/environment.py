"""Put the secrets of a load into the environment for the length of its run."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loadsmith.engine.locks import wait_until_free
from loadsmith.engine.secrets.files import config_files, merge, read_settings, variables_of
from loadsmith.errors import ConfigError, RunError

# Settings of dlt itself. Processes that dlt starts read them, which see the environment alone.
_OF_DLT = ("data_writer", "extract", "load", "normalize", "runtime", "schema")


@dataclass(eq=False)
class _Claim:
    """The variables that a running load needs.

    Attributes:
        values: Text by variable.
        who: The load, as the log names it.
        parent: The claim of the load that this one runs inside of.
        files: The secrets files of the load.
        settings: What they, and the files of configuration beside them, say.
        held: The variables that are set for this claim.
    """

    values: Mapping[str, str]
    who: str
    parent: "_Claim | None"
    files: tuple[str, ...]
    settings: Mapping[str, Any]
    held: tuple[str, ...] = ()

    def lineage(self) -> "list[_Claim]":
        """Return this claim and those of the loads that it runs inside of."""
        return [self, *(self.parent.lineage() if self.parent else ())]

    def blockers(self) -> "list[tuple[_Claim, str]]":
        """Return the claims that hold another value of a variable, each with the variable."""
        mine = self.lineage()
        return [
            (claim, name)
            for claim in _HOLDING
            if claim not in mine
            for name in claim.held
            if self.values.get(name, claim.values[name]) != claim.values[name]
        ]


# All of it is read and changed with the lock.
_LOCK = threading.Lock()
_HOLDING: list[_Claim] = []
_WAITING: list[_Claim] = []
_OF_THREAD: dict[int, _Claim] = {}


@contextmanager
def secrets_in_environment(
    files: Sequence[str],
    *,
    who: str = "a load",
    log: Callable[[str], None] = lambda _line: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Mapping[str, Any]]:
    """Set the secrets of a load in the environment, and take them out again afterwards.

    Each `config.toml` beside a file of secrets is read, too. dlt's own settings in it go into the
    environment; `active_settings` has the others.

    Variables that are already set in the environment win. Loads in other threads that need the
    same variable with the same value share it. One that needs another value waits, because code
    that reads `os.environ` would see the other load's secret; a load that runs inside another one
    does not wait for that. Yields the entries of the files by variable, for a `Redactor`.

    Args:
        files: `secrets.toml` files, the one that wins last; missing ones are fine.
        who: The load, as the log of the one that waits for it names it.
        log: Takes a line when the load waits.
        cancelled: Ends the wait.

    Raises:
        ConfigError: A file cannot be read.
        InterruptedError: The run was cancelled while it waited.
        RunError: The load and another one would wait for each other for ever.
    """
    secrets, settings = read_settings(files), read_settings(config_files(files))
    variables = variables_of(secrets)
    of_dlt = variables_of({name: settings[name] for name in _OF_DLT if name in settings})
    texts = {name: _as_text(value) for name, value in {**of_dlt, **variables}.items()}
    merge(settings, secrets)
    for name, text in texts.items():
        if "\0" in text:
            raise ConfigError(f"{name}: no environment variable can hold a NUL. Take it out.")
    thread = threading.get_ident()
    parent = _claim_of_thread()
    claim = _Claim(texts, who, parent, tuple(files), settings)
    _wait(claim, log, cancelled)
    before = _OF_THREAD.get(thread)
    _OF_THREAD[thread] = claim
    try:
        yield variables
    finally:
        _release(claim)
        if before is None:
            del _OF_THREAD[thread]
        else:
            _OF_THREAD[thread] = before


def active_files() -> tuple[str, ...]:
    """Return the secrets files of the load that runs in this thread."""
    claim = _claim_of_thread()
    return claim.files if claim else ()


def is_in_load() -> bool:
    """Tell whether this thread runs a load, or looks at one with its secrets."""
    return _claim_of_thread() is not None


def active_settings() -> Mapping[str, Any]:
    """Return what the files of the load that runs in this thread say, as one document."""
    claim = _claim_of_thread()
    return claim.settings if claim else {}


def _claim_of_thread() -> _Claim | None:
    """Return the claim of the load that this thread, or the one that dlt made it for, runs."""
    claim = _OF_THREAD.get(threading.get_ident())
    if claim is None:
        # dlt names the threads of a pool by the thread that started it.
        parts = threading.current_thread().name.split("-")
        if parts[:2] == ["dlt", "pool"] and len(parts) > 2 and parts[2].isdigit():
            claim = _OF_THREAD.get(int(parts[2]))
    return claim


def _wait(claim: _Claim, log: Callable[[str], None], cancelled: Callable[[], bool]) -> None:
    """Set the variables of a claim as soon as no other load needs other values of them."""

    def ask() -> str | None:
        with _LOCK:
            blockers = claim.blockers()
            if not blockers:
                _hold(claim)
                return None
            other, name = blockers[0]
            if _waits_for(other, claim):
                raise RunError(
                    f"{claim.who}: it needs another value of {name!r} than {other.who}, which"
                    " waits for a value that this load holds. Run the two one after the other, or"
                    " in processes of their own.",
                    stage="sync",
                    load=claim.who,
                )
            return f"{other.who}, which needs another value of {name!r}"

    with _LOCK:
        _WAITING.append(claim)
    try:
        wait_until_free("its secrets", ask, log=log, cancelled=cancelled)
    finally:
        with _LOCK:
            _WAITING.remove(claim)


def _waits_for(holder: _Claim, claim: _Claim) -> bool:
    """Tell whether a load, or a load inside it, cannot end before `claim` or its outer loads do."""
    mine, seen, look_at = claim.lineage(), set[_Claim](), [holder]
    while look_at:
        current = look_at.pop()
        if current in mine:
            return True
        if current not in seen:
            seen.add(current)
            for waiting in _WAITING:
                if current in waiting.lineage():
                    look_at += [other for other, _ in waiting.blockers()]
    return False


def _hold(claim: _Claim) -> None:
    taken = {name for other in _HOLDING for name in other.held}
    claim.held = tuple(name for name in claim.values if name in taken or name not in os.environ)
    _HOLDING.append(claim)
    os.environ.update({name: claim.values[name] for name in claim.held})


def _release(claim: _Claim) -> None:
    with _LOCK:
        _HOLDING.remove(claim)
        for name in claim.held:
            values = [other.values[name] for other in _HOLDING if name in other.held]
            if values:
                os.environ[name] = values[-1]
            else:
                os.environ.pop(name, None)


def _as_text(value: Any) -> str:
    """Return a TOML value as dlt reads it from an environment variable."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, Mapping)):
        return json.dumps(value, default=str)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
