"""Live dlt objects, and functions that make them, as the recipes of a load."""

import inspect
import logging
import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from loadsmith.engine.destinations import dataset_of
from loadsmith.engine.locks import retry
from loadsmith.engine.secrets import PLACEHOLDER, errors_without_secrets
from loadsmith.errors import LoadsmithError, ResolveError, causes_of

_logger = logging.getLogger("loadsmith")

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


@dataclass(frozen=True)
class ByPartition:
    """A function of a partition's key that makes a source or a pipeline.

    Attributes:
        function: The function.
        first: The key that it is called with for a look at the resources.
    """

    function: Callable[[str | None], Any]
    first: str | None

    def __call__(self) -> Any:
        """Return what it makes for the first partition."""
        return self.function(self.first)


def takes_partition(value: Any) -> bool:
    """Tell whether a function makes a source or a pipeline of a partition's key."""
    if not (inspect.isfunction(value) or inspect.ismethod(value)):
        return False
    parameter = inspect.signature(value).parameters.get("partition_key")
    return parameter is not None and parameter.default is parameter.empty


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
    from dlt.common.configuration.exceptions import ConfigFieldMissingException, InvalidNativeValue

    from loadsmith.engine.dlt_hooks import placeholders
    from loadsmith.engine.secrets import missing_secret

    missing: Exception | None = None
    with placeholders() as known:
        while True:
            try:
                return make()
            except ConfigFieldMissingException as error:
                missing = missing or error
                new = dict(_placeholders_for(error))
                if not new or not known.keys().isdisjoint(new):
                    raise missing_secret(error, ()) or error from error
                known.update(new)
            except InvalidNativeValue:
                # A single secret is the address of a database, then.
                if _NOWHERE in known.values() or PLACEHOLDER not in known.values():
                    raise
                known.update(dict.fromkeys(known, _NOWHERE))
            except LoadsmithError:
                raise
            except Exception as error:
                # A source that connects at once needs its credentials now.
                if missing is None:
                    raise
                raise missing_secret(missing, ()) or missing from error


# A database that SQLAlchemy makes an engine for, and that cannot be opened.
_NO_DATABASE = f"/{PLACEHOLDER}/none.db"
_NOWHERE = f"sqlite:///{_NO_DATABASE}"


def _placeholders_for(error: Any) -> Iterator[tuple[str, str]]:
    """Yield the variables of what dlt did not find, with placeholders; none if one is no secret."""
    from dlt.common.configuration import is_secret_hint

    from loadsmith.engine.secrets import is_secret_name

    hints = error.config.get_resolvable_fields()
    found: dict[str, str] = {}
    for field_name, traces in error.traces.items():
        nested = next((trace for trace in traces if hasattr(trace, "traces")), None)
        if nested is None:
            variable = _variable_of(traces)
            is_secret = is_secret_name(variable) or is_secret_hint(hints.get(field_name, str))
            if not variable or not is_secret:
                return
            found[variable] = PLACEHOLDER
        elif "Credentials" not in nested.spec_name and not is_secret_name(field_name):
            return
        else:
            for part, part_traces in nested.traces.items():
                variable = _variable_of(part_traces)
                if not variable:
                    return
                found[variable] = "sqlite" if part == "drivername" else PLACEHOLDER
                if part == "drivername":
                    found[f"{variable.removesuffix('DRIVERNAME')}DATABASE"] = _NO_DATABASE
    yield from found.items()


def _variable_of(traces: Iterable[Any]) -> str:
    """Return the first variable that dlt has looked for; empty if it has looked for none."""
    return next(
        (
            str(trace.key)
            for trace in traces
            if getattr(trace, "provider", None) == "Environment Variables"
        ),
        "",
    )


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
        is_os_error = isinstance(cause, OSError)
        return _has_removed_damage(error, only_wrong_kind=is_os_error) or is_os_error

    return retry(make, tries=_TRIES, pause=0.05, may_help=is_of_folder)


def _has_removed_damage(error: BaseException, *, only_wrong_kind: bool) -> bool:
    """Let dlt make a pipeline anew whose folder it cannot read; tell whether that is so.

    dlt reads the folder of a pipeline when that is made, and empties one without a state.

    Args:
        error: What dlt has raised.
        only_wrong_kind: Whether others may be writing the files at this moment.

    Raises:
        ResolveError: The folder must not be emptied.
    """
    from dlt import Pipeline

    from loadsmith.engine.dlt_hooks import damaged_base, refuse_to_empty, wrong_kind

    for cause in causes_of(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Pipeline) and (folder := vars(owner).get("working_dir")):
                path = (wrong_kind if only_wrong_kind else damaged_base)(Path(folder))
                if path == Path(folder):
                    raise ResolveError(f"{path} is not a folder, as dlt needs it. Move it away.")
                if path is not None:
                    refuse_to_empty(Path(folder), owner)
                    _logger.warning(
                        "%s is damaged, as after a power cut. Its folder is emptied: state and"
                        " schemas are read from the destination",
                        path,
                    )
                    shutil.rmtree(folder)
                    return True
    return False


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
