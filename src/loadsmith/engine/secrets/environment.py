"""`.dlt/secrets.toml` in, environment variables for the length of a run out; and nothing shown."""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadsmith.engine.secrets.redaction import Redactor, redact, redacted_logs
from loadsmith.errors import ConfigError, Problem, SecretNotFound, causes_of

__all__ = [
    "Redactor",
    "missing_secret",
    "read_secrets",
    "redact",
    "redacted_logs",
    "secret_variables",
    "secrets_in_environment",
]

# dlt's own top-level sections: what is in them is no source's.
_DLT_SECTIONS = frozenset(
    {
        "sources", "destination", "destinations", "extract", "normalize", "load", "runtime",
        "schema", "data_writer", "providers", "pipeline", "pipelines", "restore_from_destination",
        "workspace", "transformation", "transformations", "dashboard",
    }
)  # fmt: skip


@dataclass
class _Held:
    """A variable that one or more running loads set, and how many they are."""

    value: str
    loads: int = 1


@dataclass
class _Overlay:
    condition: threading.Condition = field(default_factory=threading.Condition)
    held: dict[str, _Held] = field(default_factory=dict)
    mine: threading.local = field(default_factory=threading.local)


_overlay = _Overlay()


def read_secrets(files: Sequence[str]) -> dict[str, Any]:
    """Read secrets files, the one that wins last, as one tree; missing ones are fine.

    Raises:
        ConfigError: A file is not TOML or cannot be read; its contents are not in the message.
    """
    merged: dict[str, Any] = {}
    for path in files:
        _merge(merged, _read_toml(path))
    return merged


def secret_variables(files: Sequence[str]) -> dict[str, str]:
    """Return what secrets files mean as environment variables, `SECTION__KEY=value`.

    A section that is not one of dlt's own is there a second time under `SOURCES__`: with only
    `[github] api_token` in the file, dlt finds it for a source named `github`.
    """
    tree = read_secrets(files)
    variables = dict(_flat(tree, ()))
    for section, value in tree.items():
        if isinstance(value, Mapping) and section.lower() not in _DLT_SECTIONS:
            for name, text in _flat({section: value}, ("sources",)):
                variables.setdefault(name, text)
    return variables


@contextmanager
def secrets_in_environment(
    files: Sequence[str], *, variables: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, str]]:
    """Set the secrets of a load in the environment, and take them out again afterwards.

    Variables that are already set in the environment win. Loads in other threads that need the
    same variable with the same value share it; one that needs another value waits until it is
    free. Yields the secrets that the load sees, by variable, for a `Redactor`.

    Args:
        files: `secrets.toml` files, the one that wins last; missing ones are fine.
        variables: More variables to set, which win over the files.
    """
    wanted = {**secret_variables(files), **(variables or {})}
    taken, before = _take(wanted)
    outer = _active_files()
    _overlay.mine.__dict__["files"] = tuple(files)
    try:
        yield {name: os.environ.get(name, value) for name, value in wanted.items()}
    finally:
        _overlay.mine.__dict__["files"] = outer
        _give_back(taken, before)


def _active_files() -> tuple[str, ...]:
    """Return the secrets files of the load that runs in this thread."""
    files: tuple[str, ...] = _overlay.mine.__dict__.get("files", ())
    return files


def _take(wanted: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Set variables; return those that are held and, by name, values set aside in this thread."""
    own: dict[str, int] = _overlay.mine.__dict__.setdefault("names", {})
    with _overlay.condition:
        _overlay.condition.wait_for(
            lambda: (
                not any(
                    name in _overlay.held and _overlay.held[name].value != value and name not in own
                    for name, value in wanted.items()
                )
            )
        )
        taken: list[str] = []
        before: dict[str, str] = {}
        for name, value in wanted.items():
            held = _overlay.held.get(name)
            if held is None:
                if name in os.environ:
                    continue
                _overlay.held[name] = _Held(value)
                os.environ[name] = value
            else:
                if held.value != value:
                    # A load inside a load of the same thread: waiting would be for ever.
                    before[name] = held.value
                    held.value = value
                    os.environ[name] = value
                held.loads += 1
            own[name] = own.get(name, 0) + 1
            taken.append(name)
    return taken, before


def _give_back(taken: Iterable[str], before: Mapping[str, str]) -> None:
    own: dict[str, int] = _overlay.mine.__dict__.setdefault("names", {})
    with _overlay.condition:
        for name in taken:
            own[name] -= 1
            if not own[name]:
                del own[name]
            held = _overlay.held[name]
            held.loads -= 1
            if name in before:
                held.value = os.environ[name] = before[name]
            if not held.loads:
                del _overlay.held[name]
                os.environ.pop(name, None)
        _overlay.condition.notify_all()


def missing_secret(exc: BaseException, files: Sequence[str] | None = None) -> SecretNotFound | None:
    """Return our error for a secret that was not found, anywhere in what caused `exc`, or None.

    Knows dlt's own error and the `KeyError` of code that reads `os.environ["..."]`.

    Args:
        exc: What a source, a pipeline or a destination raised.
        files: The secrets files of the load; those that are in the environment where None.
    """
    looked_at = _active_files() if files is None else files
    for found in causes_of(exc, hidden=True):
        names = _missing_variables(found)
        if names:
            if not looked_at:
                names = [_as_dlt_reads_it(name, found) for name in names]
            return SecretNotFound(_missing_message(names, looked_at))
    return None


def _as_dlt_reads_it(name: str, exc: BaseException) -> str:
    """Return the variable that dlt looked for: short names go with files of secrets alone."""
    return f"SOURCES__{name}" if f" SOURCES__{name})" in str(exc) else name


def _missing_variables(exc: BaseException) -> list[str]:
    from dlt.common.configuration.exceptions import ConfigFieldMissingException

    if isinstance(exc, ConfigFieldMissingException):
        return list(_variables_of(exc.traces))
    if isinstance(exc, KeyError) and _is_of_environ(exc):
        return [str(exc.args[0])]
    return []


def _variables_of(traces: Mapping[str, Any]) -> Iterator[str]:
    """Yield a variable for each field that dlt did not find, those of nested credentials too."""
    from dlt.common.configuration.exceptions import LookupTraces

    for field_name, found in traces.items():
        nested = [trace for trace in found if isinstance(trace, LookupTraces)]
        if nested:
            yield from _variables_of(nested[0].traces)
            continue
        keys = [str(trace.key) for trace in found if trace.provider == "Environment Variables"]
        yield _short_variable(keys) or field_name.upper()


def _short_variable(keys: Sequence[str]) -> str | None:
    """Return the variable to name, of all that dlt looked for.

    Of a source `github` in `source.py` dlt looks for `SOURCES__SOURCE__GITHUB__API_TOKEN`, ...,
    `SOURCES__GITHUB__API_TOKEN`, ...; `GITHUB__API_TOKEN` is the short name that works here.
    """
    # With a pipeline's name in front, every key is there a second time.
    own = [key for key in keys if key.partition("__")[2] not in keys]
    if not own:
        return min(keys, key=len) if keys else None
    parts = max(own, key=lambda key: key.count("__")).split("__")
    if parts[0] == "SOURCES" and len(parts) > 2:
        return "__".join(parts[2:] if len(parts) > 3 else parts[1:])
    return "__".join(parts)


def _is_of_environ(exc: KeyError) -> bool:
    """Tell whether a KeyError was raised by `os.environ[...]`."""
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or len(exc.args) != 1 or not isinstance(exc.args[0], str):
        return False
    frame = traceback.tb_frame
    return frame.f_globals.get("__name__") == "os" and frame.f_code.co_name == "__getitem__"


def _missing_message(variables: Sequence[str], files: Sequence[str]) -> str:
    variable, others = variables[0], variables[1:]
    also = f" (nor {', '.join(others)})" if others else ""
    if not files:
        return (
            f"Environment variable {variable!r} not found{also}."
            " Set it in the environment of the run."
        )
    present = [path for path in files if Path(path).is_file()]
    looked = ", ".join(
        f"{_shown(path)} (which does not {'have it' if path in present else 'exist'})"
        for path in files
    )
    target = _shown(present[-1] if present else files[0])
    return (
        f"Environment variable {variable!r} not found{also}. Looked at: the environment, {looked}."
        f" Set it, or put into {target}:\n{_toml_lines(variables)}"
    )


def _shown(path: str) -> str:
    """Return a path as one would write it in the folder where the run began."""
    folder = Path.cwd()
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path


def _toml_lines(variables: Sequence[str]) -> str:
    tables: dict[str, list[str]] = {}
    for variable in variables:
        section, _, key = variable.lower().rpartition("__")
        tables.setdefault(section.replace("__", "."), []).append(f'{key} = "..."')
    return "\n".join(
        "\n".join([f"[{section}]", *lines] if section else lines)
        for section, lines in tables.items()
    )


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


def _flat(tree: Mapping[str, Any], sections: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        path = (*sections, str(key))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield "__".join(path).upper(), _as_text(value)


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
