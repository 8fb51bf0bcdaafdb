"""`loadsmith json-schema`: write the JSON Schema of the files for editors."""

import json
from pathlib import Path
from typing import Any

import click

from loadsmith.cli.output import ProjectCommand

KINDS = ("workflow", "config", "component")


def make_json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of the files of one kind.

    Args:
        kind: `workflow`, `config`, or `component` for a `defs.yaml` of the component, which alone
            imports Dagster.
    """
    if kind == "component":
        from loadsmith.component.component import DltLoadCollectionComponent

        model = DltLoadCollectionComponent.get_model_cls()
        assert model is not None
        attributes = model.model_json_schema()
        definitions = attributes.pop("$defs", {})
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "defs.yaml of loadsmith.DltLoadCollectionComponent",
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "const": "loadsmith.DltLoadCollectionComponent",
                    "description": "The component.",
                },
                "attributes": attributes,
            },
            "$defs": definitions,
        }
    from loadsmith.config.models import json_schema

    return json_schema(kind)


_HELP = """\
Write the JSON Schema of workflow files, of dagster_config.yaml, or of the component.

An editor with a YAML language server completes and checks a file whose first line is
`# yaml-language-server: $schema=PATH`.

\b
Example:
  loadsmith json-schema workflow -o .loadsmith/workflow.schema.json
"""


@click.command(
    "json-schema",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Write the JSON Schema that editors read.",
)
@click.argument("kind", type=click.Choice(KINDS), default="workflow")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="File to write; else standard output."
)
def json_schema_command(kind: str, output: str | None) -> None:
    """Write the JSON Schema of a kind of file."""
    text = json.dumps(make_json_schema(kind), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(text, encoding="utf-8")
    click.echo(f"Wrote {output}.", err=True)
