"""`loadsmith init`: make a new project that loads something right away."""

import json
import runpy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from string import Template
from textwrap import indent
from typing import Any

import click

from loadsmith.cli.home import HOME_FILES
from loadsmith.cli.json_schema import make_json_schema
from loadsmith.cli.output import ProjectCommand
from loadsmith.cli.show_starters import show_starters
from loadsmith.cli.starters import (
    DESTINATIONS,
    LAYOUTS,
    SOURCES,
    TEMPLATES,
    DestinationStarter,
    SourceStarter,
)
from loadsmith.errors import ConfigError
from loadsmith.names import lower_identifier

_CODE_FOLDER = "dlt_project"
_DUCKDB_RESOURCE = """
  - resource_kind: duckdb
    params:
      database_path: data/warehouse.duckdb"""
_HELP = """\
Make a new project in the folder NAME that loads something right away.

It asks for what it is not told; --yes takes the defaults instead. The project has a source with
something to load, a destination, a template for secrets (and a .gitignore that keeps them out),
a test of its own, and starts with `dagster dev`.

--from-dlt looks at a folder that `dlt init` made, and writes the workflow file (or `defs.yaml`,
inside a project of Dagster's dg), the sections of the settings, and the packages. Nothing is
imported.

\b
Examples:
  loadsmith init shop
  loadsmith init shop --source rest_api --destination postgres --yes
  loadsmith init --from-dlt .
"""


@click.command(
    "init",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Make a new project that loads something right away.",
)
@click.argument("name", required=False)
@click.option(
    "--from-dlt",
    "from_dlt",
    metavar="FOLDER",
    help="Make a project of a folder that `dlt init` made, or a component inside a dg project.",
)
@click.option("--layout", type=click.Choice(list(LAYOUTS)), help="odp if left out.")
@click.option("--source", type=click.Choice(list(SOURCES)), help="python if left out.")
@click.option("--destination", type=click.Choice(list(DESTINATIONS)), help="duckdb if left out.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_starters,
    help="Show the layouts, sources and destinations, and make nothing.",
)
def init_command(
    name: str | None,
    from_dlt: str | None,
    layout: str | None,
    source: str | None,
    destination: str | None,
    yes: bool,
) -> None:
    """Make a new project."""
    if (name is None) == (from_dlt is None):
        raise click.UsageError("give the NAME of a new project, or --from-dlt FOLDER.")
    if from_dlt is not None:
        from loadsmith.cli.from_dlt import init_from_dlt

        init_from_dlt(Path(from_dlt))
        return
    assert name is not None
    folder = Path(name)
    _check_free(folder)
    layout = layout or _ask("Layout", LAYOUTS, "odp", yes)
    source = source or _ask(
        "Source", {key: starter.title for key, starter in SOURCES.items()}, "python", yes
    )
    destination = destination or _ask(
        "Destination", {key: starter.title for key, starter in DESTINATIONS.items()}, "duckdb", yes
    )
    project = folder.absolute().name
    written = _write_files(
        folder, make_project(project, layout, SOURCES[source], DESTINATIONS[destination])
    )
    for script in folder.glob("sample/make_*.py"):
        runpy.run_path(str(script))
    click.echo(f"Made {name} with {written} files. Next:")
    click.echo(f"  cd {name}")
    for line in _first_commands(layout, None, DESTINATIONS[destination]):
        click.echo(f"  {line}")


def make_project(
    project: str, layout: str, source: SourceStarter, destination: DestinationStarter
) -> dict[str, str]:
    """Return the texts of the files of a new project by path, relative to its folder."""
    code = _CODE_FOLDER if layout == "odp" else f"{_package(project)}/defs/{source.prefix}"
    values = _values(project, layout, source, destination, code)
    files = {
        **HOME_FILES,
        ".gitignore": _filled("shared/gitignore", values),
        "README.md": _filled("shared/README.md", values),
        "pyproject.toml": _filled(f"{layout}/pyproject.toml", values),
        "tests/test_project.py": _make_test(layout, source, values),
    }
    secrets = f"{_secrets_folder(layout)}/secrets.toml.example"
    files[secrets] = _filled("shared/secrets.toml.example", values)
    schema = (TEMPLATES / f"sources/{source.name}/schema.yaml.tmpl").read_text(encoding="utf-8")
    if layout == "odp":
        files["definitions.py"] = _filled("odp/definitions.py", values)
        files["odp_config/dagster_config.yaml"] = _filled("odp/dagster_config.yaml", values)
        files[f"odp_config/workflows/{source.prefix}.yaml"] = _filled("odp/workflow.yaml", values)
        files[f"{code}/schemas/export/{source.prefix}.schema.yaml"] = schema
        kinds: tuple[str, ...] = ("workflow", "config")
    else:
        package = _package(project)
        files[f"{package}/__init__.py"] = ""
        files[f"{package}/definitions.py"] = _filled("dg/definitions.py", values)
        files[f"{package}/defs/__init__.py"] = ""
        files[f"{code}/defs.yaml"] = _filled("dg/defs.yaml", values)
        files[f"{code}/{source.prefix}.schema.yaml"] = schema
        kinds = ("component",)
    for kind in kinds:
        text = json.dumps(make_json_schema(kind), indent=2) + "\n"
        files[f".loadsmith/{kind}.schema.json"] = text
    for path, template in source.files.items():
        target = _source_path(path, layout, code)
        files[target] = "" if template == "empty" else _raw(template)
    return files


def _source_path(path: str, layout: str, code: str) -> str:
    """Return the path of a source's file; `../` is the project, else the folder of the code.

    In the component's layout the code is beside `defs.yaml`.
    """
    if path.startswith("../"):
        return path.removeprefix("../")
    if layout == "dg":
        path = PurePosixPath(*PurePosixPath(path).parts[1:]).as_posix()
    return f"{code}/{path}"


def _values(
    project: str,
    layout: str,
    source: SourceStarter,
    destination: DestinationStarter,
    code: str,
) -> dict[str, str]:
    """Return the values of the `$name`s in the templates."""
    extras = sorted(
        {extra for extra in (source.extra, destination.extra) if extra}
        | ({"dg"} if layout == "dg" else set())
    )
    depth = " " * (4 if layout == "odp" else 6)
    module = source.module
    if layout == "dg" and source.files and "." in module:
        module = "." + module.split(".", 1)[1]
    yaml = f"odp_config/workflows/{source.prefix}.yaml" if layout == "odp" else f"{code}/defs.yaml"
    params = indent(f"source_params:\n{indent(source.params, '  ')}\n", depth)
    return {
        "project": project,
        "package": _package(project),
        "prefix": source.prefix,
        "module": module,
        "tables": json.dumps(list(source.tables)),
        "requirement": f"loadsmith[{','.join(extras)}]" if extras else "loadsmith",
        "source_params": params if source.params else "",
        "destination": indent(destination.params, depth),
        "destination_title": destination.title,
        "duckdb_resource": _DUCKDB_RESOURCE if destination.name == "duckdb" else "",
        "assets": _assets(source),
        "secrets": "\n\n".join(filter(None, [destination.secrets, source.secrets])),
        "source_title": source.title,
        "first_commands": "\n".join(_first_commands(layout, source, destination)),
        "where": _where(layout, yaml),
        "next_steps": source.next_steps.format(code=code, yaml=yaml),
    }


def _assets(source: SourceStarter) -> str:
    return "".join(
        f"  - asset_key: {source.prefix}/{resource}\n"
        f"    task_type: dlt\n"
        f"    description: {description}\n"
        f"    params:\n"
        f"      source_module: {source.module}\n\n"
        for resource, description in source.resources.items()
    )


def _first_commands(
    layout: str, source: SourceStarter | None, destination: DestinationStarter
) -> list[str]:
    """Return the first commands; with a source, also those that only a fresh clone needs."""
    commands = []
    if destination.needs_secrets:
        secrets = f"{_secrets_folder(layout)}/secrets.toml"
        commands.append(f"cp {secrets}.example {secrets}   # and fill it in")
    if source is not None and source.name == "sql_database":
        commands.append("python sample/make_sample.py   # the sample database, after a fresh clone")
    if layout == "odp":
        return [*commands, "loadsmith list", "loadsmith run '*'"]
    return [*commands, "dg list defs", "dg launch --assets '*'"]


def _where(layout: str, yaml: str) -> str:
    text = (
        f"What is loaded, and where to, is in `{yaml}`; your editor completes it. Secrets go into "
        f"`{_secrets_folder(layout)}/secrets.toml`, never into git."
    )
    if layout == "dg":
        text += (
            " `loadsmith check` tells every mistake in it with file, line and column: run it "
            "before `dg dev`, and in CI."
        )
    return text


def _make_test(layout: str, source: SourceStarter, values: Mapping[str, str]) -> str:
    """Return the project's test, including the setup that its source needs."""
    fixture, setup = "", ""
    if source.name == "rest_api":
        pattern = (
            '"odp_config/workflows/*.yaml"'
            if layout == "odp"
            else f'"{values["package"]}/**/*.yaml"'
        )
        fixture = ", api: str"
        setup = (
            f"    for path in copied_project.glob({pattern}):\n"
            '        text = path.read_text().replace("https://jsonplaceholder.typicode.com", api)\n'
            "        path.write_text(text)\n"
        )
    elif source.name == "sql_database":
        setup = (
            '    script = copied_project / "sample" / "make_sample.py"\n'
            "    subprocess.run([sys.executable, str(script)], check=True)\n"
        )
    text = _filled(
        f"{layout}/test_project.py", {**values, "load_fixture": fixture, "load_setup": setup}
    )
    if source.name != "rest_api":
        return text
    server = _raw("sources/rest_api/test_server.py")
    text = text.replace("import sys\n", "import sys\nimport threading\n", 1)
    text = text.replace("import os\n", "import json\nimport os\n", 1) if layout == "dg" else text
    text = text.replace(
        "from pathlib import Path\n",
        "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n"
        "from pathlib import Path\n",
        1,
    )
    return text.replace("\n\n\ndef test_", f"\n{server}\n\ndef test_", 1)


def _package(project: str) -> str:
    """Return a module name for the project that hides no installed module."""
    name = lower_identifier(project, prefix="project", is_ascii=False)
    return f"{name}_project" if is_taken(name) else name


def is_taken(name: str) -> bool:
    """Tell whether an installed module has a name."""
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that is half loaded, such as __main__
        return True


def _secrets_folder(layout: str) -> str:
    return f"{_CODE_FOLDER}/.dlt" if layout == "odp" else ".dlt"


def _filled(name: str, values: Mapping[str, Any]) -> str:
    return Template(_raw(name)).substitute(values)


def _raw(name: str) -> str:
    return (TEMPLATES / f"{name}.tmpl").read_text(encoding="utf-8")


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: there is something already. Choose another name, or an empty folder."
        )


def _ask(title: str, choices: Mapping[str, str], default: str, yes: bool) -> str:
    if yes:
        return default
    for name, text in choices.items():
        click.echo(f"  {name:<13} {text}")
    answer: str = click.prompt(title, type=click.Choice(list(choices)), default=default)
    return answer


def _write_files(folder: Path, files: Mapping[str, str]) -> int:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return len(files)
