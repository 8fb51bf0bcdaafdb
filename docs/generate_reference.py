"""Write the pages of `docs/reference` that come from the code: fields, commands, names, errors.

Run `python docs/generate_reference.py` after a change of a model, a command or a docstring; a test
says when that is due.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import loadsmith
from loadsmith.config.models import (
    DagsterConfigFile,
    DltAsset,
    DltResourceParams,
    DuckdbResourceParams,
    WorkflowFile,
)
from loadsmith.lazy import modules_by_name

REFERENCE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by docs/generate_reference.py; change the code instead. -->"


def make_pages() -> dict[str, str]:
    """Return the text of each generated page by its name."""
    pages = {
        "yaml.md": _yaml_page(),
        "commands.md": _commands_page(),
        "python.md": _python_page(),
        "errors.md": _errors_page(),
    }
    return {name: f"{GENERATED}\n\n{text.strip()}\n" for name, text in pages.items()}


def _paragraph(text: str) -> list[str]:
    return textwrap.dedent(text).strip().splitlines()


# Fields of YAML files


def _yaml_page() -> str:
    lines = [
        "# Every field of the YAML files",
        "",
        *_paragraph("""
            `loadsmith json-schema workflow` writes the same as JSON Schema, for editors that
            complete and check while one types. A field that is not here is an error.
            [A project in YAML](../yaml-project.md) shows them at work.
        """),
        "",
    ]
    seen: set[str] = set()
    lines += ["## Files of workflows/", ""]
    lines += _models(WorkflowFile.model_json_schema(), seen)
    lines += ["## dagster_config.yaml", ""]
    lines += _models(DagsterConfigFile.model_json_schema(), seen)
    for kind, model in (("dlt", DltResourceParams), ("duckdb", DuckdbResourceParams)):
        lines += [f"`params` of the resource kind `{kind}`:", ""]
        lines += _table(model.model_json_schema())
    assert DltAsset.__name__ in seen
    return "\n".join(lines)


def _models(schema: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    """Yield a table for a model and for each model that it refers to, nearest first."""
    definitions = schema.get("$defs", {})
    waiting: list[tuple[str, Mapping[str, Any]]] = [(schema["title"], schema)]
    while waiting:
        title, model = waiting.pop(0)
        if title in seen:
            continue
        seen.add(title)
        yield from (f"### {title}", "", model.get("description", ""), "")
        yield from _table(model)
        waiting += [(name, definitions[name]) for name in _references(model) if name in definitions]


def _table(model: Mapping[str, Any]) -> Iterator[str]:
    required = set(model.get("required", ()))
    yield from ("| field | takes | default | what it is |", "|---|---|---|---|")
    for name, field in model.get("properties", {}).items():
        default = "**needed**" if name in required else _default(field)
        text = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{name}` | {_type(field)} | {default} | {text} |"
    yield ""


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, [], {}, "") else f"`{value}`"


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        kinds = [_type(part) for part in field["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"{_type(inner)} by name" if isinstance(inner, Mapping) and inner else "mapping"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes/no"}
    return names.get(str(field.get("type")), "anything")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "$ref":
                yield str(value).rsplit("/", 1)[1]
            elif key != "$defs":
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


# Commands


def _commands_page() -> str:
    from loadsmith.cli import cli

    context = click.Context(cli, info_name="loadsmith")
    lines = [
        "# Every command and option",
        "",
        *_paragraph("""
            [The command line](../cli.md) shows them at work. `--debug`, before or after the name of
            a command, shows Python's traceback with an error.
        """),
        "",
        cli.epilog or "",
        "",
    ]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        lines += _command(name, command)
        if isinstance(command, click.Group):
            for own, part in command.commands.items():
                lines += _command(f"{name} {own}", part)
    return "\n".join(lines)


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    usage = " ".join(
        str(param.name).upper() if param.required else f"[{str(param.name).upper()}]"
        for param in arguments
    )
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    yield from (
        f"## loadsmith {name}",
        "",
        "```text",
        f"loadsmith {name} [OPTIONS] {usage or _command_name(command)}".strip(),
    )
    yield from ("```", "", text.strip(), "")
    if examples:
        example = textwrap.dedent("\n".join(examples.splitlines()[1:])).strip()
        yield from ("```text", example, "```", "")
    if isinstance(command, click.Group):
        return
    yield from ("| option | what it does |", "|---|---|")
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            names = ", ".join(f"`{option}`" for option in param.opts)
            yield f"| {names}{_choices(param)} | {(param.help or '').replace('|', chr(92) + '|')} |"
    yield ""


def _command_name(command: click.Command) -> str:
    return "COMMAND" if isinstance(command, click.Group) else ""


def _choices(param: click.Option) -> str:
    if isinstance(param.type, click.Choice):
        return " " + ", ".join(f"`{choice}`" for choice in param.type.choices)
    if param.is_flag:
        return ""
    default = param.default
    shown = f", else {default}" if isinstance(default, int | str) and default != "" else ""
    return f" {(param.metavar or param.type.name).upper()}{shown}"


# Names in Python


def _python_page() -> str:
    lines = [
        "# Every public name in Python",
        "",
        *_paragraph("""
            `from loadsmith import ...` gives these, `from loadsmith.testing import ...` the two at
            the end. What is not here is not public.
        """),
        "",
    ]
    for name in loadsmith.__all__:
        if name != "__version__":
            lines += _name(name, *_found(loadsmith, name))
    from loadsmith import testing

    for name in testing.__all__:
        lines += _name(name, *_found(testing, name))
    return "\n".join(lines)


def _found(module: Any, name: str) -> tuple[str, ast.AST]:
    """Return the module and the syntax tree of a public name, where it is written."""
    value = getattr(module, name)
    # The component says that it is of the package itself, under the name that people write.
    written = getattr(value, "__module__", "")
    for home in {modules_by_name(module.__name__).get(name, ""): 0, written: 0}:
        path = getattr(import_module(home), "__file__", None) if home else None
        tree = ast.parse(Path(path).read_text(encoding="utf-8")) if path else ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == value.__name__:
                return module.__name__, node
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
                return module.__name__, node
    raise LookupError(f"nobody knows where {name} is written")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _name(name: str, module: str, node: Any) -> Iterator[str]:
    yield from (f"## {name}", "")
    if isinstance(node, ast.ClassDef):
        yield from ("```text", f"class {module}.{name}", "```", "")
        yield from _docstring(node)
        yield from _fields(node)
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                yield from (
                    f"### {name}.{method.name}",
                    "",
                    "```text",
                    _signature(method),
                    "```",
                    "",
                )
                yield from _docstring(method)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        assert node.value is not None
        yield from ("```text", f"{module}.{name} = {ast.unparse(node.value)}", "```", "")
    else:
        yield from ("```text", _signature(node, prefix=f"{module}."), "```", "")
        yield from _docstring(node)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    rows = []
    for entry in node.body:
        if not isinstance(entry, ast.AnnAssign) or not isinstance(entry.target, ast.Name):
            continue
        if entry.target.id.startswith("_") or entry.target.id == "model_config":
            continue
        kind = ast.unparse(entry.annotation).replace("|", "\\|")
        rows.append(f"| `{entry.target.id}` | `{kind}` | {_description(entry.value)} |")
    if rows:
        yield from ("| field | type | what it is |", "|---|---|---|", *rows, "")


def _description(value: ast.AST | None) -> str:
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg == "description" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value).replace("|", "\\|")
    return ""


def _signature(node: ast.FunctionDef, prefix: str = "") -> str:
    arguments = ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{prefix}{node.name}({arguments}){returns}"
    if len(line) <= 96:
        return line
    parts = "".join(f"    {part},\n" for part in _split(node.args))
    return f"{prefix}{node.name}(\n{parts}){returns}"


def _split(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for argument, default in zip(positional, [*defaults, *arguments.defaults], strict=True):
        yield _argument(argument, default)
    if arguments.vararg:
        yield f"*{_argument(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _argument(argument, default)
    if arguments.kwarg:
        yield f"**{_argument(arguments.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation:
        text += f": {ast.unparse(argument.annotation)}"
    return f"{text} = {ast.unparse(default)}" if default is not None else text


def _docstring(node: Any) -> Iterator[str]:
    """Yield a docstring in Google's form as Markdown."""
    text = ast.get_docstring(node) or ""
    for paragraph in text.split("\n\n"):
        first, *rest = paragraph.splitlines() or [""]
        if first in ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:"):
            yield from (f"**{first[:-1]}**", "")
            yield from _items("\n".join(rest), has_names=first != "Returns:")
        elif paragraph.startswith("    "):
            yield from ("```text", textwrap.dedent(paragraph), "```")
        else:
            yield paragraph
        yield ""


def _items(text: str, *, has_names: bool) -> Iterator[str]:
    if not has_names:
        yield " ".join(textwrap.dedent(text).split())
        return
    entries: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    for entry in entries:
        name, _, rest = entry.partition(": ")
        yield f"- `{name}`: {rest}"


# Errors


def _errors_page() -> str:
    from loadsmith import errors

    drawn = textwrap.dedent((errors.__doc__ or "").split("\n\n")[1])
    lines = [
        "# Every error",
        "",
        *_paragraph("""
            All of them are in `loadsmith.errors` and derive from `LoadsmithError`; the tree follows
            what the reader can do. The text of each is *place: what is wrong. What to do.* No text
            holds a secret.
        """),
        "",
        "```text",
        drawn.strip(),
        "```",
        "",
        *_paragraph("""
            In a run, Dagster shows the text as the failure's description, with load, stage, table
            and resources as metadata. What may go away by itself is tried again where the asset has
            a `retry_policy`; a broken contract, a missing secret or a mistake in a file is not.
        """),
        "",
    ]
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, errors.LoadsmithError):
            tree = ast.parse(inspect.getsource(value)).body[0]
            base = value.__bases__[0]
            lines += [f"## {name}", "", f"Derives from `{base.__name__}`.", ""]
            lines += _docstring(tree)
    return "\n".join(lines)


def write(pages: Mapping[str, str], folder: Path = REFERENCE) -> Iterable[Path]:
    """Write the pages that have changed and yield them."""
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path


if __name__ == "__main__":
    for changed in write(make_pages()):
        sys.stdout.write(f"{changed}\n")
