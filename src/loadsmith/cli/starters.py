"""The sources and destinations that `loadsmith init` can start from.

They are described in `templates/sources.yaml` and `templates/destinations.yaml`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class SourceStarter:
    """A source for a new project.

    Attributes:
        title: What it is, in the words of the question that `init` asks.
        prefix: First part of the asset keys, name of the dataset and of the schema file.
        module: `source_module` in the YAML layout.
        resources: Resources with a description each; each is an entry of `assets`.
        tables: All tables of the resources.
        params: Lines of `source_params`, without indentation.
        secrets: Lines of `secrets.toml.example`.
        extra: Extra of the package that the source needs, or None.
        files: Files of the project, by the template that they are made from.
        next_steps: Advice of the README on loading the user's own data.
    """

    name: str
    title: str
    prefix: str
    module: str
    resources: dict[str, str]
    tables: list[str]
    params: str = ""
    secrets: str
    extra: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    next_steps: str


@dataclass(frozen=True, kw_only=True)
class DestinationStarter:
    """A destination that a new project loads into.

    Attributes:
        params: Lines of YAML that choose it, without indentation.
        secrets: Lines of `secrets.toml.example`; may be empty.
        needs_secrets: Whether a load fails before they are filled in.
    """

    name: str
    title: str
    params: str
    extra: str | None = None
    secrets: str = ""
    needs_secrets: bool = False


def _read(name: str) -> dict[str, dict[str, Any]]:
    starters: dict[str, dict[str, Any]] = yaml.safe_load(
        (TEMPLATES / name).read_text(encoding="utf-8")
    )
    return starters


SOURCES = {
    name: SourceStarter(name=name, **values) for name, values in _read("sources.yaml").items()
}

DESTINATIONS = {
    name: DestinationStarter(name=name, **values)
    for name, values in _read("destinations.yaml").items()
}

LAYOUTS = {
    "odp": "YAML files in odp_config/, and Python only where a source needs it",
    "dg": "a Dagster project for `dg`, with loadsmith's component",
}
