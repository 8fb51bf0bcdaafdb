"""Say which secret is missing and where to put it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadsmith.engine.secrets.environment import active_files
from loadsmith.errors import SecretNotFound, causes_of


def missing_secret(exc: BaseException, files: Sequence[str] | None = None) -> SecretNotFound | None:
    """Return our error for a secret that was not found, anywhere in what caused `exc`, or None.

    Knows dlt's own error and the `KeyError` of code that reads `os.environ["..."]`.

    Args:
        exc: What a source, a pipeline or a destination raised.
        files: The secrets files of the load; those that are in the environment where None.
    """
    looked_at = active_files() if files is None else files
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
