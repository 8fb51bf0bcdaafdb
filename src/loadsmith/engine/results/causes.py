"""Choose which of the errors behind a failed load to tell, and what a person can do about it."""

import sysconfig
import traceback
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from dlt.common.exceptions import DltException
from dlt.destinations.exceptions import DatabaseException, DestinationConnectionError
from dlt.extract.exceptions import ResourceExtractionError
from dlt.load.exceptions import LoadClientJobException
from dlt.normalize.exceptions import NormalizeJobFailed
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.errors import causes_of

#: Errors of dlt that only say where another one was raised.
_WRAPPERS = (
    DatabaseException,
    DestinationConnectionError,
    LoadClientJobException,
    NormalizeJobFailed,
    PipelineStepFailed,
    ResourceExtractionError,
)

#: Names of errors of libraries that could not reach a server, or were refused by it.
_NO_ACCESS = frozenset(
    {
        "AccessDenied", "AutoReconnect", "ClientConnectorDNSError", "ClientConnectorError",
        "ConnectError", "ConnectTimeout", "ConnectionError", "EndpointConnectionError",
        "Forbidden", "ForbiddenError", "InsufficientPrivilege", "InterfaceError",
        "NewConnectionError", "NoCredentialsError", "OperationalError", "PermissionDenied",
        "PoolTimeout", "ReadTimeout", "ServerSelectionTimeoutError", "ServerTimeoutError",
        "URLError", "Unauthorized",
    }
)  # fmt: skip

_LIBRARY_FOLDERS = {name: sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
_LIBRARIES = (*_LIBRARY_FOLDERS.values(), str(Path(__file__).parents[2]))


def told_causes(error: BaseException) -> list[BaseException]:
    """Return the errors to tell, of all that led to a failed load: one, or one and its root.

    dlt's own sentence comes before what a library said. What was raised while another error was
    handled stands for itself: the handled one was expected.
    """
    links = _links(error)
    while len(links) > 1 and isinstance(links[0], _WRAPPERS):
        del links[0]
    if isinstance(links[0], DltException):
        return links[:1]
    with_text = [link for link in links if str(link).strip()] or links[:1]
    first, root = with_text[0], with_text[-1]
    return [root] if str(root) in str(first) else [first, root]


def _links(error: BaseException) -> list[BaseException]:
    links = [error]
    while (after := _cause_of(links[-1])) is not None and after not in links:
        links.append(after)
    return links


def _cause_of(error: BaseException) -> BaseException | None:
    """Return what an error was raised for, unless it was raised while another one was handled."""
    kept = (getattr(error, name, None) for name in ("exception", "client_exception"))
    for cause in (*kept, error.__cause__):
        if isinstance(cause, BaseException):
            return cause
    if isinstance(error, _WRAPPERS) or _is_of_cleanup(error):
        return error.__context__
    return None


def _is_of_cleanup(error: BaseException) -> bool:
    """Tell whether dlt stumbled while it put something back after an error."""
    return isinstance(error, AttributeError) and "/dlt/" in _innermost(error)


def has_no_access(error: BaseException) -> bool:
    """Tell whether an error, or what it was raised for, says that a server cannot be used."""
    return any(
        isinstance(cause, (ConnectionError, TimeoutError))
        or not _NO_ACCESS.isdisjoint(kind.__name__ for kind in type(cause).__mro__)
        for cause in causes_of(error, hidden=True)
    )


def address_of(error: BaseException) -> str | None:
    """Return the address that could not be reached, as far as an error or its stack tells."""
    for cause in causes_of(error, hidden=True):
        request = getattr(cause, "_request", None) or getattr(cause, "request", None)
        url = getattr(request, "url", None) or getattr(cause, "url", None)
        if url is not None and "://" in str(url):
            return _plain(str(url))
    for cause in causes_of(error, hidden=True):
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
        for frame in reversed(frames):
            address = _address_in(frame)
            if address:
                return address
    return None


def _address_in(frame: FrameType) -> str | None:
    names: dict[str, Any] = frame.f_locals
    module = str(frame.f_globals.get("__name__", ""))
    if module == "urllib.request" and hasattr(names.get("req"), "full_url"):
        return _plain(names["req"].full_url)
    if module in ("socket", "http.client", "asyncio.base_events"):
        address = names.get("address")
        if isinstance(address, tuple) and len(address) >= 2:
            return f"{address[0]}:{address[1]}"
        host, port = (getattr(names.get("self"), name, None) for name in ("host", "port"))
        if host:
            return f"{host}:{port}" if port else str(host)
    return None


def _plain(url: str) -> str:
    """Return an address without the user and the query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_of_source(error: BaseException) -> bool:
    """Tell whether the source's own code raised an error, and no library that it called."""
    file = _innermost(_links(error)[-1])
    # Compiled modules have the relative paths of their sources.
    return Path(file).is_absolute() and not file.startswith(_LIBRARIES)


def _innermost(error: BaseException) -> str:
    """Return the file of the code that raised an error; the standard library does not count."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    outside = [file for file in files if not _is_of_python(file)]
    return outside[-1] if outside else "<unknown>"


def _is_of_python(file: str) -> bool:
    packages = _LIBRARY_FOLDERS["purelib"], _LIBRARY_FOLDERS["platlib"]
    return file.startswith("<") or (
        file.startswith(_LIBRARY_FOLDERS["stdlib"]) and not file.startswith(packages)
    )
