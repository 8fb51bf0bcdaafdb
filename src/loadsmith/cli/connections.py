"""Ask the sources and the destinations of a project whether they answer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loadsmith.cli.output import ABANDONED, make_console
from loadsmith.cli.projects import Project, looking_request
from loadsmith.cli.sampling import choose_of
from loadsmith.config.templates import names_in
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, RunRequest

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Connection


def fetch_connections(project: Project, timeout: float) -> "list[Connection]":
    """Return what the source and the destination of each load answer; the same is asked once."""
    partitions = _partitions_of(project)
    asked: set[str] = set()
    found: list[Any] = []
    console = make_console(stderr=True)
    for load in project.loads:
        sides = []
        for side, what in (("source", load.source), ("destination", load.destination)):
            text = f"{what if what is not None else load.pipeline} {_params_of(what)}"
            if text not in asked:
                asked.add(text)
                sides.append(side)
        with console.status(f"Asking {load.name} ..."):
            found += _ask(project, load, partitions.get(load.name), tuple(sides), timeout)
    return found


def _ask(
    project: Project, load: LoadDefinition, partitions: Any, sides: tuple[str, ...], timeout: float
) -> "list[Connection]":
    from loadsmith.engine.workspace import Connection, connect

    found = []
    for side in sides:
        try:
            definition, request = _rendered(project, load, partitions, side)
        except LoadsmithError as error:
            # A variable that is not set is the secret that is missing.
            found.append(
                Connection(
                    load=load.name, side=side, name="", ok=False, message=str(error), seconds=0.0
                )
            )
            continue
        (asked,) = connect(
            definition, request, timeout=timeout, thread_name=ABANDONED, sides=(side,)
        )
        secrets = dict.fromkeys((*_named(load, side), *asked.secrets))
        found.append(replace(asked, secrets=tuple(secrets)))
    return found


def _named(load: LoadDefinition, side: str) -> list[str]:
    """Return the variables of the environment that the files name for a side of a load."""
    reference: Any = load.source if side == "source" else load.destination
    names = names_in(getattr(reference, "params", {}))
    return sorted(name.removeprefix("env.") for name in names if name.startswith("env."))


def _rendered(
    project: Project, load: LoadDefinition, partitions: Any, side: str
) -> tuple[LoadDefinition, RunRequest]:
    """Return a load with what one of its sides needs filled in."""
    from loadsmith.resolve import render_definition, run_variables, used_variables

    request, names = looking_request("connect"), used_variables(load)
    key, window = None, None
    if any(name.startswith("context.partition") for name in names):
        key, window = choose_of(partitions, None, load.name)
        request = replace(request, partition_key=key, window=window)
    if side == "destination":
        return project.without_source(load, key), request
    variables = run_variables(
        names,
        run_id="connect",
        partition_key=key,
        window=window,
        resources=project.resource_params(),
    )
    return render_definition(load, variables), request


def _partitions_of(project: Project) -> dict[str, Any]:
    import dagster as dg

    graph = project.definitions.resolve_asset_graph()
    return {
        asset.load.name: graph.get(dg.AssetKey.from_user_string(key)).partitions_def
        for key, asset in project.assets.items()
    }


def _params_of(reference: Any) -> str:
    params: Mapping[str, Any] = getattr(reference, "params", {})
    return repr(sorted(params.items(), key=lambda item: item[0]))
