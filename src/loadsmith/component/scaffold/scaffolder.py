"""`dg scaffold defs`: write a component that runs as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from dagster import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, ConfigDict, Field

from loadsmith.component.scaffold.dlt_init import ENVIRONMENT_FILE, InitFiles, run_dlt_init
from loadsmith.component.scaffold.templates import (
    DECLARED_LOADS,
    DEFS_YAML,
    LOADS_PY,
    PYTHON_COMPONENT,
    REFERENCED_LOADS,
)
from loadsmith.names import lower_identifier

_PUBLIC_TYPE = "loadsmith.DltLoadCollectionComponent"


class DltScaffolderParams(BaseModel):
    """The options of `dg scaffold defs loadsmith.DltLoadCollectionComponent`."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(
        default=None,
        description=(
            "Name of a dlt source to start from by `dlt init`: `rest_api`, `sql_database`, "
            "`filesystem`, or one of dlt's verified sources (those are fetched)."
        ),
    )
    destination: str | None = Field(
        default=None, description="dlt's name of the destination; `duckdb` if left out."
    )


class DltLoadCollectionScaffolder(Scaffolder[DltScaffolderParams]):
    """Writes `defs.yaml` and `loads.py`, and with a source also files of `dlt init`.

    The example pipeline and the requirements of `dlt init` are kept as they are. Its settings
    become `.env.example`, with the names of dlt's environment variables. Its `.gitignore` and
    `.dlt` folder are dropped: a Dagster project has a `.gitignore`, and secrets do not belong
    into a package.
    """

    @classmethod
    def get_scaffold_params(cls) -> type[DltScaffolderParams]:
        """Return the model that the options of the command come from."""
        return DltScaffolderParams

    def scaffold(self, request: ScaffoldRequest[DltScaffolderParams]) -> None:
        """Write the files of one component.

        Raises:
            click.ClickException: `dlt init` failed, or a file of the user is in the way.
        """
        params = request.params or DltScaffolderParams()
        folder = request.target_path.parent if request.append else request.target_path
        folder.mkdir(parents=True, exist_ok=True)
        name = lower_identifier(folder.name, prefix="load", is_ascii=False)
        destination = params.destination or "duckdb"
        files = run_dlt_init(params.source, destination) if params.source else InitFiles()
        for relative, text in files.kept.items():
            _write_new(folder / relative, text)
        if files.environment:
            _write_new(folder / ENVIRONMENT_FILE, files.environment)
        declared = DECLARED_LOADS.get(params.source or "")
        values = {"name": name, "destination": destination, "source": params.source or ""}
        if declared is None or request.scaffold_format == "python":
            example = next((kept for kept in files.kept if kept.endswith("_pipeline.py")), None)
            note = f" {example} is dlt's own example of this source." if example else ""
            _write_new(folder / "loads.py", _filled(LOADS_PY, {**values, "note": note}))
        if request.scaffold_format == "python":
            _write_new(folder / "component.py", PYTHON_COMPONENT)
            return
        body = _filled(declared or REFERENCED_LOADS, values)
        document = _filled(DEFS_YAML, {"type": _public(request.type_name)}) + body
        if request.append:
            path = request.target_path
            path.write_text(f"{path.read_text(encoding='utf-8')}---\n{document}", encoding="utf-8")
        else:
            _write_new(folder / "defs.yaml", document)


def _public(type_name: str) -> str:
    """Return the public name of the component, whichever module Dagster names."""
    own = type_name.startswith("loadsmith.") and type_name.endswith(".DltLoadCollectionComponent")
    return _PUBLIC_TYPE if own else type_name


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """Return `text` with `<name>` replaced: templates hold braces of YAML, Python and Jinja."""
    for name, value in values.items():
        text = text.replace(f"<{name}>", str(value))
    return text


def _write_new(path: Path, text: str) -> None:
    if path.exists():
        raise click.ClickException(
            f"{path}: the file is there already. Choose another folder, or move the file."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
