"""Make a project of a folder as `dlt init` leaves it, from its files alone; nothing is imported."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import tomlkit
import yaml

from loadsmith.cli.home import HOME_FILES
from loadsmith.cli.locate import find_dg_project
from loadsmith.engine.packages import pip_install
from loadsmith.engine.secrets import UNFILLED
from loadsmith.errors import ConfigError

_OWN = frozenset({"odp_config", "schemas", "data", "tests", "build", "dist"})
_SENTINELS = {"dlt.secrets.value": "secrets", "dlt.config.value": "config"}
_DEFINITIONS = '''\
"""What Dagster shows: everything that the files in odp_config/ describe."""

from pathlib import Path

from loadsmith import build_definitions

defs = build_definitions(Path(__file__).parent / "odp_config")
'''
_CONFIG = """\
resources:
  - resource_kind: dlt
    params:
      project_dir: .
      pipelines_dir: data/pipelines
"""


@dataclass(frozen=True, kw_only=True)
class FoundSource:
    """A function that makes a source, as its file describes it.

    Attributes:
        module: The reference to it, such as `github.github_reactions`.
        section: The section of dlt's settings that its arguments are looked up in.
        required: Arguments that only the caller can give.
        settings: The arguments that dlt looks up: `secrets` or `config`, by name.
        resources: The names of its resources; None if they are known only when it is called.
    """

    module: str
    section: str
    required: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.module.rpartition(".")[2]

    @property
    def package(self) -> str:
        """The package or module that it is in."""
        return self.module.partition(".")[0]


def init_from_dlt(folder: Path) -> None:
    """Write the workflow file or `defs.yaml`, the sections of the settings, and the packages.

    Raises:
        ConfigError: The folder has no source, or its files are there already.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder. Name one that `dlt init` made.")
    sources = [*find_sources(folder)]
    if not sources:
        raise ConfigError(
            f"{folder}: no function with `@dlt.source` or `@dlt.resource` is here. Name a folder"
            " that `dlt init` made."
        )
    destination = _destination(folder)
    is_component = find_dg_project(str(folder)) is not None
    files = _component(sources, destination) if is_component else _workflows(sources, destination)
    new = {name: text for name, text in files.items() if not (folder / name).exists()}
    if not new.keys() - set(_KEPT):
        taken = next(name for name in files if name not in _KEPT)
        raise ConfigError(f"{folder / taken}: this file is here already. Move it away.")
    for name, text in new.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"Wrote {name}")
    _write_settings(folder, sources)
    _write_requirements(folder, destination)
    click.echo("Next:")
    for line in _commands(sources, is_component):
        click.echo(f"  {line}")


#: Files of a project that a second source shares.
_KEPT = ("definitions.py", "odp_config/dagster_config.yaml", *HOME_FILES)


def find_sources(folder: Path) -> Iterator[FoundSource]:
    """Yield the sources of a folder's packages, or else of its modules."""
    packages = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name.isidentifier() and path.name not in _OWN
    ]
    found: list[FoundSource] = []
    for package in packages:
        found += _sources_of(
            {
                ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(
                    ".__init__"
                ): file
                for file in sorted(package.rglob("*.py"))
            }
        )
    modules = {
        file.stem: file
        for file in sorted(folder.glob("*.py"))
        if file.stem.isidentifier() and file.stem != "definitions"
    }
    yield from found or _sources_of(modules)


def _sources_of(files: Mapping[str, Path]) -> list[FoundSource]:
    trees = {name: ast.parse(file.read_text("utf-8")) for name, file in files.items()}
    functions = {
        name: [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for name, tree in trees.items()
    }
    shared = {
        node.name: _resource_name(node)
        for nodes in functions.values()
        for node in nodes
        if _decorated(node, "resource", "transformer")
    }
    sources = [
        _source(f"{name}.{node.name}", _section(name, node), node, _resources_in(node, shared))
        for name, nodes in functions.items()
        for node in nodes
        if _decorated(node, "source")
    ]
    return sources or [
        _source(f"{name}.{node.name}", _section(name, node), node, _named(shared[node.name]))
        for name, nodes in functions.items()
        for node in nodes
        if _decorated(node, "resource")
    ]


def _source(
    module: str, section: str, node: ast.FunctionDef, resources: tuple[str, ...] | None
) -> FoundSource:
    arguments = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults))
    pairs = [
        *zip(arguments, [*defaults, *node.args.defaults], strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return FoundSource(
        module=module,
        section=section,
        required=tuple(argument.arg for argument, default in pairs if default is None),
        settings={
            argument.arg: _SENTINELS[ast.unparse(default)]
            for argument, default in pairs
            if default is not None and ast.unparse(default) in _SENTINELS
        },
        resources=resources,
    )


def _section(module: str, node: ast.FunctionDef) -> str:
    named = _keyword(_decorated(node, "source", "resource"), "section")
    text = named.value if isinstance(named, ast.Constant) else None
    return str(text or module.rpartition(".")[2])


def _decorated(node: ast.FunctionDef, *kinds: str) -> ast.expr | None:
    """Return the decorator of dlt's that a function has, of some kinds."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(called) in {name for kind in kinds for name in (kind, f"dlt.{kind}")}:
            return decorator
    return None


def _keyword(call: ast.expr | None, name: str) -> ast.expr | None:
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return next((keyword.value for keyword in keywords if keyword.arg == name), None)


def _resource_name(node: ast.FunctionDef) -> str | None:
    """Return the name of a decorated resource, or None if a function chooses it."""
    named = _keyword(_decorated(node, "resource", "transformer"), "name")
    if named is None:
        return node.name
    return str(named.value) if isinstance(named, ast.Constant) else None


def _resources_in(node: ast.FunctionDef, shared: Mapping[str, str | None]) -> Any:
    """Return the names of the resources that a source returns, or None if its text hides them."""
    known = {
        **shared,
        **{
            inner.name: _resource_name(inner)
            for inner in ast.walk(node)
            if isinstance(inner, ast.FunctionDef) and _decorated(inner, "resource", "transformer")
        },
    }
    names: dict[str, None] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and ast.unparse(inner.func) in (
            "dlt.resource",
            "dlt.transformer",
        ):
            named = _keyword(inner, "name")
            if isinstance(named, ast.Constant):
                names[str(named.value)] = None
            elif not isinstance(named, ast.Constant) and inner not in node.decorator_list:
                is_decorator = any(
                    inner in other.decorator_list
                    for other in ast.walk(node)
                    if isinstance(other, ast.FunctionDef)
                )
                if not is_decorator:
                    return None
        if isinstance(inner, ast.Name) and inner.id in known:
            found = known[inner.id]
            if found is None:
                return None
            names[found] = None
    return tuple(names) or None


def _named(name: str | None) -> tuple[str, ...] | None:
    return None if name is None else (name,)


def _destination(folder: Path) -> str:
    """Return the destination that the example of `dlt init` loads into."""
    for file in sorted(folder.glob("*.py")):
        found = re.search(r"""destination\s*=\s*["'](\w+)["']""", file.read_text("utf-8"))
        if found:
            return found[1]
    return "duckdb"


def _params(source: FoundSource, destination: str, *, relative: bool) -> dict[str, Any]:
    params: dict[str, Any] = {
        "source_module": f"{'.' if relative else ''}{source.module}",
        "destination": destination,
        "pipeline_params": {"pipeline_name": source.name, "dataset_name": f"{source.package}_data"},
    }
    if destination == "duckdb":
        params["destination_params"] = {"database": "data/warehouse.duckdb"}
    if source.required:
        params["source_params"] = dict.fromkeys(source.required, UNFILLED)
    if source.resources:
        params["resources"] = list(source.resources)
    return params


def _workflows(sources: list[FoundSource], destination: str) -> dict[str, str]:
    assets: dict[str, list[Any]] = {}
    for source in sources:
        params = _params(source, destination, relative=False)
        if not source.resources:
            params["resources"] = ["*"]
            params["schema_file_path"] = f"schemas/export/{source.name}.schema.yaml"
        assets.setdefault(source.package, []).append(
            {"asset_key": f"{source.package}/{source.name}", "task_type": "dlt", "params": params}
        )
    files = {
        "definitions.py": _DEFINITIONS,
        "odp_config/dagster_config.yaml": _CONFIG,
        **HOME_FILES,
    }
    for package, entries in assets.items():
        files[f"odp_config/workflows/{package}.yaml"] = _yaml({"assets": entries})
    return files


def _component(sources: list[FoundSource], destination: str) -> dict[str, str]:
    loads = [{"name": one.name, **_params(one, destination, relative=True)} for one in sources]
    document = {
        "type": "loadsmith.DltLoadCollectionComponent",
        "attributes": {"loads": loads},
    }
    return {"defs.yaml": _yaml(document)}


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _write_settings(folder: Path, sources: list[FoundSource]) -> None:
    """Add what the sources look up and `.dlt` does not have; what is there stays as it is."""
    for kind in ("secrets", "config"):
        path = folder / ".dlt" / f"{kind}.toml"
        document = tomlkit.parse(path.read_text("utf-8")) if path.is_file() else tomlkit.document()
        added = False
        for source in sources:
            names = [name for name, where in source.settings.items() if where == kind]
            tables: Any = document
            for part in ("sources", source.section) if names else ():
                if part not in tables:
                    tables[part] = tomlkit.table(is_super_table=part == "sources")
                tables = tables[part]
            for name in names:
                if name not in tables:
                    tables[name] = UNFILLED
                    added = True
        if added:
            path.parent.mkdir(exist_ok=True)
            path.write_text(tomlkit.dumps(document), encoding="utf-8")
            click.echo(f"Added to .dlt/{path.name}")


def _write_requirements(folder: Path, destination: str) -> None:
    path = folder / "requirements.txt"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    own = re.search(r"loadsmith[^\"\s]*", pip_install([f"dlt[{destination}]"]))
    requirement = own[0] if own else "loadsmith"
    if not any(line.startswith("loadsmith") for line in lines):
        path.write_text("\n".join([*lines, requirement]) + "\n", encoding="utf-8")
        click.echo(f"{'Added to' if lines else 'Wrote'} requirements.txt: {requirement}")


def _commands(sources: list[FoundSource], is_component: bool) -> Iterator[str]:
    yield "pip install -r requirements.txt"
    yield "loadsmith check --deep   # names each value that is still open, with file and line"
    if not is_component and any(not source.resources for source in sources):
        yield "loadsmith schema --all   # asks the sources for their tables"
    yield "loadsmith run '*'"
    yield "loadsmith dev   # Dagster's page, which needs loadsmith[ui]"
