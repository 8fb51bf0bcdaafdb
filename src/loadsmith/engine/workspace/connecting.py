"""A load in; whether its source and its destination answer, within seconds, out."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from dlt.common.configuration.exceptions import ConfigurationException

from loadsmith.engine.dlt_hooks import is_sql, secrets_of_load, used_secrets
from loadsmith.engine.secrets import missing_secret
from loadsmith.engine.snapshots import Found, discover_source
from loadsmith.engine.sources import database_engine, is_sql_database, make_source
from loadsmith.engine.workspace.looking import destination_of
from loadsmith.errors import LoadsmithError, RunError, causes_of
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

#: Characters of an error that are shown.
_LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What the source or the destination of a load has answered.

    Attributes:
        load: Name of the load.
        side: `source` or `destination`.
        name: What it is, such as `postgres` or `rest_api`.
        ok: Whether it answered.
        message: What it answered, or what is wrong and what to do.
        seconds: Time until the answer.
        secrets: The secrets that were used, as the variables that stand for them.
    """

    load: str
    side: str
    name: str
    ok: bool
    message: str
    seconds: float
    secrets: tuple[str, ...] = ()


@dataclass
class _Answer:
    value: Any = None
    error: BaseException | None = None
    secrets: tuple[str, ...] = ()
    seconds: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


def connect(
    definition: LoadDefinition,
    request: RunRequest,
    *,
    timeout: float,
    thread_name: str,
    sides: tuple[str, ...] = ("source", "destination"),
) -> list[Connection]:
    """Ask the source and the destination of a load, both at once, for a sign of life.

    A database is connected to, of any other source the first page of one resource is read, and
    files are looked for. Nothing is written.

    Args:
        definition: The load, its variables filled in.
        request: Names the partition and the window, where the source takes them.
        timeout: Seconds after which no answer is waited for any longer.
        thread_name: Name of the threads that ask; one that gets no answer is left behind.
        sides: What is asked.

    Raises:
        ConfigError: A file of secrets cannot be read.
    """
    asks = {"source": _ask_source, "destination": _ask_destination}
    source = definition.source
    files = source.secrets_files if isinstance(source, SourceReference) else ()
    found = []
    with secrets_of_load(definition, request) as redactor:
        started = {side: _start(asks[side], definition, request, thread_name) for side in sides}
        ends = time.monotonic() + timeout
        for side, answer in started.items():
            in_time = answer.done.wait(max(0.0, ends - time.monotonic()))
            if not in_time:
                text = _late(timeout)
            elif answer.error is not None:
                text = redactor.redact(_told(answer.error, files))
            else:
                text = redactor.redact(answer.value)
            found.append(
                Connection(
                    load=definition.name,
                    side=side,
                    name=_name_of(definition, side),
                    ok=in_time and answer.error is None,
                    message=text,
                    seconds=round(answer.seconds if in_time else timeout, 2),
                    secrets=answer.secrets,
                )
            )
    return found


def discover_within(
    definition: LoadDefinition, request: RunRequest, *, timeout: float, thread_name: str
) -> list[Found]:
    """Ask the source of a load what there is to load.

    Args:
        definition: The load, its variables filled in.
        request: Names the partition and the window, where the source takes them.
        timeout: Seconds after which no answer is waited for any longer.
        thread_name: Name of the thread that asks; it is left behind if it gets no answer.

    Raises:
        RunError: The source does not answer.
        ResolveError: It cannot be made, or a secret is missing.
    """
    source = definition.source
    files = source.secrets_files if isinstance(source, SourceReference) else ()
    with secrets_of_load(definition, request) as redactor:
        answer = _start(
            lambda asked, _: discover_source(asked.source), definition, request, thread_name
        )
        in_time = answer.done.wait(timeout)
        if in_time and answer.error is None:
            found = redactor.redact_value([asdict(one) for one in answer.value])
            return [Found(**one) for one in found]
        if isinstance(answer.error, LoadsmithError):
            redactor.raise_clean(answer.error)
        text = _told(answer.error, files) if answer.error is not None else _late(timeout)
        name = _name_of(definition, "source")
        raise RunError(redactor.redact(f"{name}: {text}"), stage="extract", load=definition.name)


def _late(timeout: float) -> str:
    return f"no answer within {timeout:g} seconds. Is the address right, and reachable from here?"


def _start(
    ask: Callable[..., Any], definition: LoadDefinition, request: RunRequest, thread_name: str
) -> _Answer:
    answer = _Answer()

    def run() -> None:
        began = time.monotonic()
        with used_secrets() as names:
            try:
                answer.value = ask(definition, request)
            except BaseException as error:  # noqa: BLE001 - told to the user as the answer
                answer.error = error
        answer.seconds = time.monotonic() - began
        answer.secrets = tuple(sorted(names))
        answer.done.set()

    threading.Thread(target=run, name=thread_name, daemon=True).start()
    return answer


def _ask_destination(definition: LoadDefinition, request: RunRequest) -> str:
    with destination_of(definition, request, f"a look at {definition.name}") as found:
        if found is None:
            return "its file is not there yet; the first load makes it"
        pipeline, _, _ = found
        client: Any = pipeline.destination_client()
        if is_sql(client):
            known: Any = client
            with known.sql_client as sql:
                # One word that every dialect of SQL has; what is asked for is the connection.
                sql.execute_sql("SELECT 1")
        else:
            with client:
                client.is_storage_initialized()
        return f"connected to {client.config}"


def _ask_source(definition: LoadDefinition, _request: RunRequest) -> str:
    reference = definition.source
    if isinstance(reference, SourceReference) and is_sql_database(reference):
        engine = database_engine(reference)
        with engine.connect():
            return f"connected to {engine.url.render_as_string(hide_password=True)}"
    source = make_source(reference)
    names = [
        name
        for name, resource in source.resources.items()
        if definition.resources.matches(name) and not resource.is_transformer
    ]
    if not names:
        return "made; it has no resource that can be read by itself"
    name = names[0]
    count = sum(1 for _ in source.with_resources(name).add_limit(1))
    return f"'{name}' answered" if count else f"'{name}' answered, without a row"


def _told(error: BaseException, files: tuple[str, ...]) -> str:
    if isinstance(error, LoadsmithError):
        return str(error)
    missing = missing_secret(error, files)
    if missing is not None:
        return str(missing)
    chain = list(causes_of(error))
    # What the system says of a connection does not name the address; who asked for it does.
    last = chain[0] if isinstance(chain[-1], OSError) else chain[-1]
    root = next((one for one in chain if isinstance(one, ConfigurationException)), last)
    text = " ".join(str(root).split()) or "no message"
    return f"{type(root).__name__}: {text[:_LONGEST]}"


def _name_of(definition: LoadDefinition, side: str) -> str:
    if side == "destination":
        return definition.destination.name if definition.destination else "of the pipeline"
    source = definition.source
    return source.module if isinstance(source, SourceReference) else "of the project"
