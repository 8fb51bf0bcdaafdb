"""Put the secrets of a load into the environment for the length of its run."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadsmith.engine.locks import wait_until_free
from loadsmith.errors import ConfigError, Problem, RunError

# dlt's own top-level sections: what is in them is no source's.
_DLT_SECTIONS = frozenset(
    {
        "sources", "destination", "destinations", "extract", "normalize", "load", "runtime",
        "schema", "data_writer", "providers", "pipeline", "pipelines", "restore_from_destination",
        "workspace", "transformation", "transformations", "dashboard",
    }
)  # fmt: skip


def read_secrets(files: Sequence[str]) -> dict[str, Any]:
    """Read secrets files, the one that wins last, as one tree; missing ones are fine.

    Raises:
        ConfigError: A file is not TOML or cannot be read; its contents are not in the message.
    """
    merged: dict[str, Any] = {}
    for path in files:
        _merge(merged, _read_toml(path))
    return merged


def secret_variables(files: Sequence[str]) -> dict[str, Any]:
    """Return the entries of secrets files by the environment variables that stand for them.

    Raises:
        ConfigError: A file is not TOML or cannot be read; its contents are not in the message.
    """
    return variables_of(read_secrets(files))


def variables_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a document of secrets by the variables that stand for them.

    A section that is not one of dlt's own is there a second time under `SOURCES__`: with only
    `[github] api_token` in the file, dlt finds it for a source named `github`.
    """
    variables = dict(_flat(tree, ()))
    for section, value in tree.items():
        if isinstance(value, Mapping) and section.lower() not in _DLT_SECTIONS:
            for name, entry in _flat({section: value}, ("sources",)):
                variables.setdefault(name, entry)
    return variables


@dataclass(eq=False)
class _Claim:
    """The variables that a running load needs.

    Attributes:
        values: Text by variable.
        who: The load, as the log names it.
        parent: The claim of the load that this one runs inside of.
        files: The secrets files of the load.
        held: The variables that are set for this claim.
    """

    values: Mapping[str, str]
    who: str
    parent: "_Claim | None"
    files: tuple[str, ...]
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
    variables = secret_variables(files)
    texts = {name: _as_text(value) for name, value in variables.items()}
    for name, text in texts.items():
        if "\0" in text:
            raise ConfigError(f"{name}: no environment variable can hold a NUL. Take it out.")
    thread = threading.get_ident()
    parent = _claim_of_thread()
    claim = _Claim(texts, who, parent, tuple(files))
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


def _read_toml(path: str) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import KeyAlreadyPresent, ParseError, TOMLKitError

    try:
        text = Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError([Problem(path, line, 1, "this file is not UTF-8.")]) from None
    except OSError as exc:
        problem = Problem(path, 0, 0, f"this file cannot be read ({type(exc).__name__}).")
        raise ConfigError([problem]) from None
    try:
        return dict(tomlkit.parse(text).unwrap())
    except ParseError as exc:
        # The parser's text quotes the line, which may hold the secret.
        problem = Problem(path, exc.line, exc.col + 1, "this is not TOML. Put text into quotes.")
        raise ConfigError([problem]) from None
    except TOMLKitError as exc:
        twice = isinstance(exc, KeyAlreadyPresent)
        what = "this is here a second time. Delete one." if twice else "this is not TOML."
        problem = Problem(path, _line_of(type(exc), text), 1, what)
        raise ConfigError([problem]) from None


def _line_of(kind: type[Exception], text: str) -> int:
    """Return the line up to which TOML is wrong in this way; the parser itself does not say it."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines)):
        try:
            tomlkit.parse("".join(lines[:number]))
        except TOMLKitError as exc:
            if type(exc) is kind:
                return number
    return len(lines)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _flat(tree: Mapping[str, Any], sections: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = (*sections, str(key))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield "__".join(path).upper(), value


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
