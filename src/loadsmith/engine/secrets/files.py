"""Read the `secrets.toml` and `config.toml` files of a load."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadsmith.documents import read_whole
from loadsmith.errors import ConfigError, Problem

UNFILLED = "<configure me>"
"""What `dlt init` writes for a value that it does not know."""

# dlt's own top-level sections: what is in them is no source's.
_DLT_SECTIONS = frozenset(
    {
        "sources", "destination", "destinations", "extract", "normalize", "load", "runtime",
        "schema", "data_writer", "providers", "pipeline", "pipelines", "restore_from_destination",
        "workspace", "transformation", "transformations", "dashboard",
    }
)  # fmt: skip


def config_files(files: Sequence[str]) -> list[str]:
    """Return the `config.toml` beside each file of secrets."""
    return [str(Path(path).with_name("config.toml")) for path in files]


def settings_files(source: Any) -> list[str]:
    """Return the files of secrets and of configuration of a source, whether or not they exist."""
    files = getattr(source, "secrets_files", ())
    return [*files, *config_files(files)]


def read_settings(files: Sequence[str]) -> dict[str, Any]:
    """Read files of secrets or of configuration, the one that wins last, as one tree.

    Missing files are fine. A value that `dlt init` left open is left out.

    Raises:
        ConfigError: A file is not TOML or cannot be read; its contents are not in the message.
    """
    merged: dict[str, Any] = {}
    for path in files:
        merge(merged, _filled(_read_toml(path)))
    return merged


def secret_variables(files: Sequence[str]) -> dict[str, Any]:
    """Return the entries of secrets files by the environment variables that stand for them.

    Raises:
        ConfigError: A file is not TOML or cannot be read; its contents are not in the message.
    """
    return variables_of(read_settings(files))


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


def value_at(tree: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return what stands at a path of a document, or None; `github` is `sources.github`, too."""
    places = [path]
    if len(path) > 2 and path[0] == "sources" and path[1].lower() not in _DLT_SECTIONS:
        places.append(path[1:])
    for place in places:
        found: Any = tree
        for name in place:
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def sections_of(path: str) -> dict[str, list[str]]:
    """Return the sections that are written in a file, and the names that are open in each."""
    sections: dict[str, list[str]] = {}

    def look(tree: Mapping[str, Any], section: tuple[str, ...]) -> None:
        below = {name: value for name, value in tree.items() if isinstance(value, Mapping)}
        # `sources` alone is the section of no source.
        if section and (len(section) > 1 or len(below) < len(tree) or not tree):
            open_names = [name for name, value in tree.items() if value == UNFILLED]
            sections[".".join(section)] = open_names
        for name, value in below.items():
            look(value, (*section, name))

    look(_read_toml(path), ())
    return sections


def unfilled(files: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each value that `dlt init` left open in these files."""
    for path in files:
        if any(sections_of(path).values()) or UNFILLED in _read_toml(path).values():
            for number, line in enumerate(Path(path).read_text("utf-8-sig").splitlines(), 1):
                name, equals, value = line.partition("=")
                if equals and UNFILLED in value.partition("#")[0] and not name.startswith("#"):
                    yield Problem(
                        path,
                        number,
                        len(line) - len(line.lstrip()) + 1,
                        f"{name.strip()} is still {UNFILLED!r}. Fill it in, or delete the line"
                        " if the source does not need it.",
                    )


def _read_toml(path: str) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import KeyAlreadyPresent, ParseError, TOMLKitError

    try:
        text = read_whole(path).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError([Problem(path, line, 1, "this file is not UTF-8.")]) from None
    except OSError as exc:
        problem = Problem(path, 0, 0, f"this file cannot be read ({exc.strerror or exc}).")
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


def _filled(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _filled(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
        if value != UNFILLED
    }


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add a document to another one, whose values it replaces."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def _flat(tree: Mapping[str, Any], sections: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = (*sections, str(key))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield "__".join(path).upper(), value
