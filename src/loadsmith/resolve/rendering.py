"""Fill in the `{{variables}}` of a load for a run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loadsmith.config.templates import render
from loadsmith.errors import ResolveError
from loadsmith.model import LoadDefinition, PipelineSettings, RunArguments, SourceReference


def render_definition(definition: LoadDefinition, variables: Mapping[str, Any]) -> LoadDefinition:
    """Return the definition with the `{{variables}}` of a run filled in.

    The result may hold secrets (`{{env.TOKEN}}`): keep it for the run only.

    Raises:
        ResolveError: A variable is unknown in this run.
    """
    try:
        return _rendered(definition, variables)
    except ResolveError as error:
        if not definition.place:
            raise
        raise ResolveError(f"{definition.place}: {error}") from error


def _rendered(definition: LoadDefinition, variables: Mapping[str, Any]) -> LoadDefinition:
    source, pipeline, destination = definition.source, definition.pipeline, definition.destination
    if isinstance(source, SourceReference):
        source = replace(source, params=render(source.params, variables))
    if isinstance(pipeline, PipelineSettings):
        pipeline = PipelineSettings(
            pipeline_name=str(render(pipeline.pipeline_name, variables)),
            dataset_name=_rendered_text(pipeline.dataset_name, variables),
            pipelines_dir=_rendered_text(pipeline.pipelines_dir, variables),
            params=render(pipeline.params, variables),
        )
    if destination is not None:
        destination = replace(
            destination,
            name=str(render(destination.name, variables)),
            params=render(destination.params, variables),
        )
    options = definition.options
    options = replace(
        options,
        params=RunArguments.of(render(dict(options.params), variables)),
        cursor_timezone=render(options.cursor_timezone, variables),
    )
    return replace(
        definition, source=source, pipeline=pipeline, destination=destination, options=options
    )


def _rendered_text(text: str | None, variables: Mapping[str, Any]) -> str | None:
    return None if text is None else str(render(text, variables))
