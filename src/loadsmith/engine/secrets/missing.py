"""Say which secret is missing and where to put it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadsmith.engine.secrets.environment import active_files
from loadsmith.engine.secrets.files import UNFILLED, config_files, sections_of, unfilled
from loadsmith.engine.secrets.settings import is_secret_name
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
        missing = _missing_keys(found)
        if missing and not looked_at:
            names = [_as_dlt_reads_it(_short_variable(keys), found) for keys, _ in missing]
            return SecretNotFound(_missing_message(dict.fromkeys(names, ""), ()))
        if missing:
            sections = _Sections(looked_at)
            places = dict(place for one in missing for place in sections.places(*one))
            return SecretNotFound(_missing_message(places, looked_at))
    return None


def still_open(name: str, files: Sequence[str]) -> str:
    """Return what to tell of a value that `dlt init` left open, in files that dlt reads itself."""
    found = [problem for problem in unfilled(files) if problem.message.startswith(f"{name} ")]
    if found:
        return str(replace(found[0], file=_shown(found[0].file)))
    return f"{name!r} is still {UNFILLED!r}. Fill it in."


def _as_dlt_reads_it(name: str, exc: BaseException) -> str:
    """Return the variable that dlt looked for: short names go with files of secrets alone."""
    return f"SOURCES__{name}" if f" SOURCES__{name})" in str(exc) else name


def _missing_keys(exc: BaseException) -> list[tuple[list[str], bool]]:
    """Return the variables that dlt looked for, by missing field, and whether it is a secret.

    The most specific variable comes first.
    """
    from dlt.common.configuration.exceptions import ConfigFieldMissingException

    if isinstance(exc, ConfigFieldMissingException):
        return list(_keys_of(exc.traces, exc.config.get_resolvable_fields()))
    if isinstance(exc, KeyError) and _is_of_environ(exc):
        return [([str(exc.args[0])], True)]
    return []


def _keys_of(
    traces: Mapping[str, Any], hints: Mapping[str, Any] | None = None
) -> Iterator[tuple[list[str], bool]]:
    """Yield the variables of each field that dlt did not find, also of nested credentials."""
    from dlt.common.configuration import is_secret_hint
    from dlt.common.configuration.exceptions import LookupTraces

    for field_name, found in traces.items():
        nested = [trace for trace in found if isinstance(trace, LookupTraces)]
        if nested:
            yield from _keys_of(nested[0].traces)
            continue
        keys = [str(trace.key) for trace in found if trace.provider == "Environment Variables"]
        is_secret = hints is None or is_secret_hint(hints.get(field_name, str))
        yield keys or [field_name.upper()], is_secret or is_secret_name(field_name)


def _short_variable(keys: Sequence[str]) -> str:
    """Return the variable to name, of all that dlt looked for.

    Of a source `github` in `source.py` dlt looks for `SOURCES__SOURCE__GITHUB__API_TOKEN`, ...,
    `SOURCES__GITHUB__API_TOKEN`, ...; `GITHUB__API_TOKEN` is the short name that works here.
    """
    # With a pipeline's name in front, every key is there a second time.
    own = [key for key in keys if key.partition("__")[2] not in keys]
    if not own:
        return min(keys, key=len)
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


class _Sections:
    """The sections that the files of a load have already, which a new value belongs into."""

    def __init__(self, files: Sequence[str]) -> None:
        self._settings = config_files(files)
        self._sections: dict[str, list[tuple[str, str, list[str]]]] = {}
        for path in (*files, *self._settings):
            for section, open_names in sections_of(path).items():
                name = section.replace(".", "__").upper()
                self._sections.setdefault(name, []).insert(0, (path, section, open_names))

    def places(self, keys: Sequence[str], is_secret: bool) -> Iterator[tuple[str, str]]:
        """Yield the variable and the file of a missing value, and of others open beside it."""
        for key in keys:
            section, _, field_name = key.rpartition("__")
            for name in (section, section.removeprefix("SOURCES__")):
                written = [
                    place
                    for place in self._sections.get(name, ())
                    if not is_secret or place[0] not in self._settings
                ]
                is_open = [place for place in written if field_name.lower() in place[2]]
                for path, section, others in [*is_open, *written[-1:]][:1]:
                    for field in dict.fromkeys((field_name.lower(), *others)):
                        yield f"{section.replace('.', '__')}__{field}".upper(), path
                    return
        yield _short_variable(keys), ""


def _missing_message(places: Mapping[str, str], files: Sequence[str]) -> str:
    """Return what to tell of variables that have no value.

    Args:
        places: The variables, each with the file that has its section, if one has.
        files: The secrets files of the load.
    """
    variable, *others = places
    also = f" (nor {', '.join(others)})" if others else ""
    if not files:
        return (
            f"Environment variable {variable!r} not found{also}."
            " Set it in the environment of the run."
        )
    settings = [path for path in config_files(files) if Path(path).is_file()]
    present = [path for path in files if Path(path).is_file()]
    lines = {found.file: found.line for found in reversed([*unfilled([*files, *settings])])}
    looked = ", ".join(
        f"{_shown(path)}:{lines[path]} (which says '{UNFILLED}')"
        if path in lines
        else f"{_shown(path)} (which does not {'have it' if Path(path).is_file() else 'exist'})"
        for path in (*files, *settings)
    )
    default = present[-1] if present else files[0]
    parts = []
    for target in dict.fromkeys(path or default for path in places.values()):
        names = [name for name, path in places.items() if (path or default) == target]
        parts.append(f"{_shown(target)}:\n{_toml_lines(names)}")
    return (
        f"Environment variable {variable!r} not found{also}. Looked at: the environment, {looked}."
        f" Set it, or put into {' and into '.join(parts)}"
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
