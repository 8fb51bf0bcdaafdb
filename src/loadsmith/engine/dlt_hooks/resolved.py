"""The secrets that dlt has resolved, and the documents that it reads them from."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.common.configuration import is_secret_hint
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.providers.doc import BaseDocProvider
from dlt.common.configuration.specs import PluggableRunContext
from dlt.common.configuration.utils import TraceLogContext

from loadsmith.engine.dlt_hooks.trace import redacted_traces
from loadsmith.engine.secrets import (
    Redactor,
    declare_secret,
    redacted_logs,
    redactor_of,
    secrets_in_environment,
    variables_of,
)
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

_log = TraceLogContext.log
_get_value = type(dlt.secrets)._get_value


@contextmanager
def secrets_of_load(definition: LoadDefinition, request: RunRequest) -> Iterator[Redactor]:
    """Let dlt find the secrets of a load, and keep them out of logs and traces meanwhile.

    Yields what takes them out of other text.

    Raises:
        ConfigError: A file of secrets cannot be read.
        InterruptedError: The run was cancelled while another load held its variables.
    """
    watch_secrets()
    source = definition.source
    files = source.secrets_files if isinstance(source, SourceReference) else ()
    with secrets_in_environment(
        files, who=f"load '{definition.name}'", log=request.log, cancelled=request.cancelled
    ) as variables:
        redactor = redactor_of(definition, request, {**_secrets_of_providers(), **variables})
        with redacted_logs(redactor), redacted_traces(redactor.redact_value):
            yield redactor


def watch_secrets() -> None:
    """Hide what dlt has resolved as a secret so far, and what it will resolve.

    dlt keeps each value that it resolves with its type, per thread, and forgets them at the end of
    a step (`get_resolved_traces`). So the values of the past are read from there, and those to
    come as they are added. `dlt.secrets.get(name, str)` is kept with the type `str`, so that
    method is watched as well. Nothing public tells either.
    """
    if TraceLogContext.log is _log:
        TraceLogContext.log = _log_and_declare  # type: ignore[method-assign]
        type(dlt.secrets)._get_value = _get_and_declare  # type: ignore[method-assign]
    for contexts, _ in tuple(Container().thread_contexts.values()):
        traces: Any = contexts.get(TraceLogContext)
        for trace in tuple(traces.resolved_traces) if traces else ():
            _declare(trace)


@contextmanager
def placeholders() -> Iterator[dict[str, str]]:
    """Let dlt find a placeholder for each variable in a mapping, in this thread alone.

    Yields the mapping, which is empty at first. A provider can be registered publicly and not be
    removed again, so it goes into dlt's list and out of it.
    """
    provider = _Placeholders()
    providers = Container()[PluggableRunContext].providers.providers
    providers.append(provider)
    try:
        yield provider.variables
    finally:
        providers.remove(provider)


class _Placeholders(EnvironProvider):
    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._thread = threading.get_ident()

    @property
    def name(self) -> str:
        return f"Placeholders {id(self)}"

    @property
    def is_empty(self) -> bool:
        return not self.variables or threading.get_ident() != self._thread

    def get_value(
        self, key: str, _hint: Any, pipeline_name: str | None, *sections: str
    ) -> tuple[str | None, str]:
        """Return the placeholder of a variable."""
        variable = self.get_key_name(key, pipeline_name or "", *sections)
        return self.variables.get(variable), variable


def _secrets_of_providers() -> Mapping[str, Any]:
    """Return what dlt's providers of secrets hold, by variable: `secrets.toml`, vaults and others.

    Their documents have no public name but a method that writes them as TOML.
    """
    providers = Container()[PluggableRunContext].providers.providers
    documents = [
        provider._config_doc
        for provider in providers
        if isinstance(provider, BaseDocProvider) and provider.supports_secrets
    ]
    return {name: value for document in documents for name, value in variables_of(document).items()}


def _log_and_declare(self: TraceLogContext, trace: Any) -> None:
    _declare(trace)
    _log(self, trace)


def _get_and_declare(self: Any, field: str, type_hint: Any = None) -> Any:
    value, traces = _get_value(self, field, type_hint)
    if value is not None:
        declare_secret(field.rpartition(".")[2], value)
    return value, traces


def _declare(trace: Any) -> None:
    if trace.value is None or not is_secret_hint(trace.hint):
        return
    # The credentials of DuckDB are the path of a database, and dlt declares them as a secret.
    names = [kind.__name__ for kind in getattr(trace.hint, "__mro__", ())]
    declare_secret(trace.key, trace.value, secret="DuckDbBaseCredentials" not in names)
