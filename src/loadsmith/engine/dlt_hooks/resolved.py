"""The secrets that dlt has resolved, and the documents that it reads them from."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dlt
from dlt.common.configuration import configspec, is_secret_hint, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.providers.doc import BaseDocProvider
from dlt.common.configuration.providers.provider import (
    EXPLICIT_VALUES_PROVIDER_NAME,
    ConfigProvider,
)
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.utils import TraceLogContext, get_resolved_traces
from dlt.common.typing import TSecretStrValue

from loadsmith.engine.dlt_hooks.check import not_called
from loadsmith.engine.dlt_hooks.providers import provider_in_block, providers
from loadsmith.engine.dlt_hooks.trace import redacted_traces
from loadsmith.engine.secrets import (
    UNFILLED,
    Redactor,
    active_settings,
    config_files,
    declare_secret,
    is_in_load,
    read_settings,
    redacted_logs,
    redactor_of,
    secrets_in_environment,
    still_open,
    value_at,
    variables_of,
)
from loadsmith.errors import SecretNotFound
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

#: Providers of values that have no name a user could look for.
_WITHOUT_A_NAME = (EXPLICIT_VALUES_PROVIDER_NAME, None, "")

#: The name of a setting that shows whether dlt tells of secrets, and who was told of it.
_SAMPLE = "loadsmith_sample"
_TOLD: ContextVar[set[str] | None] = ContextVar("loadsmith_told", default=None)

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
        redactor.add_params(read_settings(config_files(files)))
        with (
            # dlt asks for them after the environment, and before its own files.
            provider_in_block(_FilesOfLoad(), lambda other: isinstance(other, BaseDocProvider)),
            redacted_logs(redactor),
            redacted_traces(redactor.redact_value, request.warn),
        ):
            yield redactor


def watch_secrets() -> None:
    """Hide what dlt has resolved as a secret so far, and what it will resolve.

    dlt keeps each value that it resolves with its type, per thread, and forgets them at the end of
    a step (`get_resolved_traces`). So the values of the past are read from there, and those to
    come as they are added. `dlt.secrets.get(name, str)` is kept with the type `str`, so that
    method is watched as well. Nothing public tells either.

    Raises:
        RunError: dlt does not keep what it resolves in this way.
    """
    if TraceLogContext.log is _log:
        TraceLogContext.log = _log_and_declare  # type: ignore[method-assign]
        type(dlt.secrets)._get_value = _get_and_declare  # type: ignore[method-assign]
    _prove_that_dlt_tells()
    for contexts, _ in tuple(Container().thread_contexts.values()):
        traces: Any = contexts.get(TraceLogContext)
        for trace in tuple(traces.resolved_traces) if traces else ():
            _declare(trace)


class _Sample(ConfigProvider):
    """Answers with a secret that is none."""

    name = "loadsmith: sample"
    supports_secrets = True
    supports_sections = True

    def get_value(self, key: str, *_: Any) -> tuple[str | None, str]:
        """Return the sample."""
        return (key if key == _SAMPLE else None), key


@configspec
class _SampleOfSecrets(BaseConfiguration):
    loadsmith_sample: TSecretStrValue = None  # type: ignore[assignment]  # dlt's way


def _prove_that_dlt_tells() -> None:
    told: set[str] = set()
    token = _TOLD.set(told)
    try:
        with provider_in_block(_Sample(), before=lambda _other: True):
            resolve_configuration(_SampleOfSecrets())
            if "resolved secrets" not in told:
                raise not_called("resolved secrets")
            dlt.secrets.get(_SAMPLE)
            if "asked secrets" not in told:
                raise not_called("asked secrets")
    finally:
        _TOLD.reset(token)


class _FilesOfLoad(BaseDocProvider):
    """Answers with what stands in the files of the load that runs in the thread.

    Secrets are in the environment, which is asked first; but a table of them has no variable.
    """

    def __init__(self) -> None:
        super().__init__({})

    @property
    def name(self) -> str:
        return "Files of the load"

    @property
    def supports_secrets(self) -> bool:
        return True

    @property
    def is_empty(self) -> bool:
        return not active_settings()

    def get_value(
        self, key: str, hint: Any, pipeline_name: str | None, *sections: str
    ) -> tuple[Any, str]:
        """Return a value as TOML has it."""
        path = [*([pipeline_name] if pipeline_name else ()), *filter(None, sections), key]
        return value_at(active_settings(), path), ".".join(path)


@contextmanager
def used_secrets() -> Iterator[set[str]]:
    """Give the names of the secrets that dlt resolves in the block; they are there at its end.

    A name is the environment variable that stands for the secret, wherever dlt found it.
    """
    traces: Any = get_resolved_traces().resolved_traces
    begin = len(traces)
    names: set[str] = set()
    try:
        yield names
    finally:
        names.update(
            "__".join((*trace.sections, trace.key)).upper()
            for trace in traces[begin:]
            if trace.key
            and trace.value is not None
            and trace.provider_name not in _WITHOUT_A_NAME
            and (is_secret_hint(trace.hint) or "credentials" in (*trace.sections, trace.key))
        )


@contextmanager
def placeholders() -> Iterator[dict[str, str]]:
    """Let dlt find a placeholder for each variable in a mapping, in this thread alone.

    Yields the mapping, which is empty at first.
    """
    provider = _Placeholders()
    with provider_in_block(provider):
        yield provider.variables


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
    documents = [
        provider._config_doc
        for provider in providers()
        if isinstance(provider, BaseDocProvider) and provider.supports_secrets
    ]
    return {name: value for document in documents for name, value in variables_of(document).items()}


def _log_and_declare(self: TraceLogContext, trace: Any) -> None:
    if _is_sample(trace.key, "resolved secrets"):
        return
    if trace.value == UNFILLED and is_in_load():
        own: Any = [provider for provider in providers() if provider.name == trace.provider_name]
        raise SecretNotFound(
            still_open(trace.key, [file for each in own for file in each.present_locations])
        )
    _declare(trace)
    _log(self, trace)


def _get_and_declare(self: Any, field: str, type_hint: Any = None) -> Any:
    value, traces = _get_value(self, field, type_hint)
    if value is not None and not _is_sample(field, "asked secrets"):
        declare_secret(field.rpartition(".")[2], value)
    return value, traces


def _is_sample(name: str, hook: str) -> bool:
    told = _TOLD.get()
    if told is None or name != _SAMPLE:
        return False
    told.add(hook)
    return True


def _declare(trace: Any) -> None:
    if trace.value is None or not is_secret_hint(trace.hint):
        return
    # The credentials of DuckDB are the path of a database, and dlt declares them as a secret.
    names = [kind.__name__ for kind in getattr(trace.hint, "__mro__", ())]
    declare_secret(trace.key, trace.value, secret="DuckDbBaseCredentials" not in names)
