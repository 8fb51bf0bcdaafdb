"""Make the texts of the files of a new project from the templates."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import PurePosixPath
from string import Template
from textwrap import indent
from typing import Any

from loadsmith.cli.home import HOME_FILES
from loadsmith.cli.json_schema import make_json_schema
from loadsmith.cli.starters import TEMPLATES, DestinationStarter, SourceStarter
from loadsmith.names import lower_identifier

_CODE_FOLDER = "dlt_project"
_DUCKDB_RESOURCE = """
  - resource_kind: duckdb
    params:
      database_path: data/warehouse.duckdb"""


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
        "requirement": _requirement(layout, source, destination),
        "source_params": params if source.params else "",
        "destination": indent(destination.params, depth),
        "destination_title": destination.title,
        "duckdb_resource": _DUCKDB_RESOURCE if destination.name == "duckdb" else "",
        "assets": _assets(source),
        "secrets": "\n\n".join(filter(None, [destination.secrets, source.secrets])),
        "source_title": source.title,
        "commands": "\n".join(first_commands(layout, source, destination, cloned=True)),
        "where": _where(layout, yaml),
        "next_steps": source.next_steps.format(
            code=code if layout == "dg" else f"{code}/{source.prefix}", yaml=yaml
        ),
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


def first_commands(
    layout: str, source: SourceStarter, destination: DestinationStarter, *, cloned: bool = False
) -> list[str]:
    """Return the commands from the files of a project to Dagster's page.

    Those that only a fresh clone needs are among them if it is `cloned`.
    """
    secrets = f"{_secrets_folder(layout)}/secrets.toml"
    commands = {f"pip install '{_requirement(layout, source, destination)}' pytest": ""}
    if destination.needs_secrets:
        commands[f"cp {secrets}.example {secrets}"] = "and fill it in"
    if cloned and source.name == "sql_database":
        commands["python sample/make_sample.py"] = "the sample database"
    commands["loadsmith list"] = "the assets, one for each table"
    commands["loadsmith run '*'"] = "loads all of them"
    commands["pytest"] = "the project's own tests"
    commands["loadsmith dev"] = "Dagster's page, on http://localhost:3000"
    return [f"{command:<23} # {why}" if why else command for command, why in commands.items()]


def _requirement(layout: str, source: SourceStarter, destination: DestinationStarter) -> str:
    extras = {"ui", source.extra, destination.extra, "dg" if layout == "dg" else None}
    return f"loadsmith[{','.join(sorted(filter(None, extras)))}]"


def _where(layout: str, yaml: str) -> str:
    text = (
        f"What is loaded, and where to, is in `{yaml}`; your editor completes it. Secrets go into "
        f"`{_secrets_folder(layout)}/secrets.toml`, never into git."
    )
    if layout == "dg":
        text += (
            " `loadsmith check` tells every mistake in it with file, line and column: run it "
            "before `loadsmith dev`, and in CI."
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
