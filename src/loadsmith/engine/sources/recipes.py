"""Live dlt objects, and functions that make them, as the recipes of a load."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from loadsmith.engine.destinations import dataset_of
from loadsmith.engine.locks import retry
from loadsmith.engine.secrets import errors_without_secrets

#: Times that a pipeline is made when others make the same one at the same moment.
_TRIES = 12

# The environment belongs to all threads, so one at a time may change it.
_MAKING = threading.RLock()


@dataclass(frozen=True)
class Live:
    """A function without arguments that returns the one live object that it was made with."""

    value: Any

    def __call__(self) -> Any:
        """Return the object."""
        return self.value


def recipe_of(value: Any) -> Callable[[], Any]:
    """Return a function for a live source or pipeline, and a function as it is.

    Told apart by class, since a live pipeline and a live source can be called, too.
    """
    import dlt

    from loadsmith.engine.dlt_hooks import watch_secrets

    # A live source was made with its secrets.
    watch_secrets()
    live = (dlt.Pipeline, dlt.sources.DltSource, dlt.sources.DltResource)
    return Live(value) if isinstance(value, live) or not callable(value) else value


def live_resources(source: Any, *, needs_secrets: bool = True) -> tuple[Any, dict[str, Any]]:
    """Return the live source that a recipe makes, and its resources by name.

    Args:
        source: The recipe.
        needs_secrets: False for a look at the resources, for which nobody needs to know a secret:
            what a function asks dlt for and does not get is a placeholder then.

    Raises:
        SecretNotFound: A secret is missing.
    """
    # Files are defined without dlt, and they share the modules that import this one.
    from loadsmith.engine.sources.find import make_source

    with errors_without_secrets():
        if needs_secrets or isinstance(source, Live):
            made = make_source(source)
        else:
            made = _make_without_secrets(lambda: make_source(source))
    return made, dict(made.resources)


def _make_without_secrets(make: Callable[[], Any]) -> Any:
    """Make a source; each secret that is not there gets a placeholder, for this call alone."""
    from dlt.common.configuration import is_secret_hint
    from dlt.common.configuration.exceptions import ConfigFieldMissingException

    from loadsmith.engine.dlt_hooks import placeholders
    from loadsmith.engine.secrets import is_secret_name, missing_secret

    with placeholders() as known:
        while True:
            try:
                return make()
            except ConfigFieldMissingException as error:
                names = _variables_of(error.traces)
                hints = error.config.get_resolvable_fields()
                is_secret = all(
                    is_secret_name(name) or is_secret_hint(hints.get(field, str))
                    for field, name in names.items()
                )
                if not names or not known.isdisjoint(names.values()) or not is_secret:
                    raise missing_secret(error, ()) or error from error
                known.update(names.values())


def _variables_of(traces: Mapping[str, Any]) -> dict[str, str]:
    """Return, by field that dlt did not find, the first variable that it looked for.

    None at all where credentials of several fields are missing: what takes those connects.
    """
    names = {}
    for field, found in traces.items():
        keys = [
            str(trace.key)
            for trace in found
            if getattr(trace, "provider", None) == "Environment Variables"
        ]
        if not keys:
            return {}
        names[field] = keys[0]
    return names


class PipelineLook(NamedTuple):
    """What is known of a pipeline that was only looked at.

    Attributes:
        names: Its name, and those of its dataset and its destination.
        pipelines_dir: Where its working directory is; None where a function leaves that to dlt.
        own_dataset: The dataset that the pipeline names, also where the destination has another.
    """

    names: dict[str, str | None]
    pipelines_dir: str | None
    own_dataset: str | None


def look_at_pipeline(recipe: Callable[[], Any]) -> PipelineLook:
    """Look at a pipeline; one that a function makes is gone again afterwards."""
    if isinstance(recipe, Live):
        live = recipe.value
        return PipelineLook(_names(live), str(live.pipelines_dir), live.dataset_name)
    with errors_without_secrets(), _MAKING, _data_dir_elsewhere() as elsewhere:
        pipeline = make_pipeline(recipe)
        names = _names(pipeline)
        folder = str(pipeline.pipelines_dir)
        if pipeline.is_active:
            pipeline.deactivate()
    is_left_to_dlt = Path(folder).is_relative_to(elsewhere)
    return PipelineLook(names, None if is_left_to_dlt else folder, pipeline.dataset_name)


def make_pipeline(recipe: Callable[[], Any]) -> Any:
    """Return the pipeline that a recipe makes, also where others make the same one meanwhile.

    dlt empties the folder of a pipeline that has no state yet, and stumbles over another thread or
    process that does the same at that moment.
    """

    def make() -> Any:
        with _MAKING:
            return recipe()

    def is_of_folder(error: Exception) -> bool:
        # If dlt fails early, it fails with AttributeError while it puts its state back.
        cause = error.__context__ if isinstance(error, AttributeError) else error
        return isinstance(cause, OSError)

    return retry(make, tries=_TRIES, pause=0.05, may_help=is_of_folder)


def _names(pipeline: Any) -> dict[str, str | None]:
    destination = pipeline.destination
    return {
        "pipeline_name": pipeline.pipeline_name,
        "dataset_name": dataset_of(pipeline),
        "destination_name": destination.destination_name if destination else None,
    }


@contextmanager
def _data_dir_elsewhere() -> Iterator[str]:
    """Let dlt write what it writes when a pipeline is made to a folder that is thrown away."""
    name = "DLT_DATA_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[name] = folder
        try:
            yield folder
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
