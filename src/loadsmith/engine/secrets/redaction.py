"""The secrets of a load in, text without them out."""

import json
import logging
import os
import re
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from loadsmith.errors import causes_of
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

_SECRET_NAME = re.compile(
    r"(?i)(^|[_\-])(password|passwd|pwd|secret|token|api_?key|access_?key|private_?key|credentials?"
    r"|authorization|auth|bearer|sas|pat|dsn|connection_string|client_secret|passphrase|slack_incoming_hook)"
    r"([_\-]|$)|secret|password|token"
)
_HIDDEN = "***"
# Shorter values are in every other word of a log; replacing them would tell where they are.
_SHORTEST_SECRET = 4


# What connections are made of, and no secret: hiding them would hide table names and paths.
_PLAIN_NAMES = frozenset(
    {
        "account", "bucket_url", "catalog", "client_email", "database", "dataset", "dataset_name",
        "drivername", "endpoint_url", "host", "layout", "location", "log_level", "port",
        "project_id", "region", "region_name", "role", "schema", "type", "user", "username",
        "warehouse",
    }
)  # fmt: skip


class Redactor:
    """Replaces the secrets of a load by `***` in text that leaves it.

    Values with fewer than four characters, numbers and booleans stay.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._is_stale = False
        given = tuple(secrets)
        if given:
            self.add(*given)

    def add(self, *secrets: str) -> None:
        """Take more values to hide, in all forms that text may show them in."""
        if self is not _used:
            _used.add(*secrets)
        with self._lock:
            for secret in secrets:
                self._values.update(_forms(secret))
            self._is_stale = True

    def add_variables(self, variables: Mapping[str, str]) -> None:
        """Take secrets files' values, as `secrets_in_environment` yields them.

        The whole file is secret, but for what plainly is none: numbers, booleans, and the
        words of a connection other than its password.
        """
        for name, value in variables.items():
            self.add_setting(name.rpartition("__")[2], value, secret=not _is_plain(name, value))

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Take what is secret of a source's or destination's parameters, by name and by shape."""
        for name, value in params.items():
            self.add_setting(name, value)

    def add_setting(self, name: str, value: Any, *, secret: bool = False) -> None:
        """Take one setting; `secret` says that it is one whatever its name."""
        secret = secret or bool(_SECRET_NAME.search(name))
        if isinstance(value, Mapping):
            for key, item in value.items():
                # A mapping of credentials also holds hosts and databases, which are no secrets.
                self.add_setting(str(key), item, secret=secret and name.lower() != "credentials")
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.add_setting(name, item, secret=secret)
        elif isinstance(value, str):
            passwords = list(_passwords(value))
            self.add(*passwords)
            if (secret and not (passwords or _is_location(value))) or (secret and passwords):
                self.add(value)

    def redact(self, text: str) -> str:
        """Return the text without the secrets."""
        if self._is_stale:
            with self._lock:
                # The longest first, so that no end of one is left behind a shorter one.
                ordered = sorted(self._values, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
                self._is_stale = False
        pattern = self._pattern
        return pattern.sub(_HIDDEN, text) if pattern else text

    def is_clean(self, error: BaseException) -> bool:
        """Tell whether an error, as Dagster stores it with all its causes, shows no secret."""
        text = "".join(traceback.format_exception(error))
        arguments = [repr(getattr(found, "args", ())) for found in causes_of(error, hidden=True)]
        return all(self.redact(part) == part for part in (text, *arguments))

    def redact_value(self, value: Any) -> Any:
        """Return plain data (mappings, lists, text) without the secrets."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {self.redact_value(key): self.redact_value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.redact_value(item) for item in value]
            # What dlt keeps of a failed normalize has named tuples in it.
            return value._make(items) if hasattr(value, "_make") else type(value)(items)
        return value


class _RedactedRecords(logging.Filter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._redactor.redact(record.getMessage())
        record.args = ()
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_info, record.exc_text = None, self._redactor.redact(text)
        return True


@contextmanager
def redacted_logs(redactor: Redactor) -> Iterator[None]:
    """Keep secrets out of what dlt logs, for the length of the block."""
    logger = logging.getLogger("dlt")
    records = _RedactedRecords(redactor)
    logger.addFilter(records)
    try:
        yield
    finally:
        logger.removeFilter(records)


_used = Redactor()


def redactor_of(
    definition: LoadDefinition, request: RunRequest, variables: Mapping[str, str]
) -> Redactor:
    """Return a redactor that knows every secret that this run may see."""
    redactor = Redactor()
    redactor.add_variables(variables)
    for name, value in os.environ.items():
        if "://" in value or "CREDENTIALS" in name or is_secret_name(name):
            redactor.add_setting(name.rpartition("__")[2], value)
    if isinstance(definition.source, SourceReference):
        redactor.add_params(definition.source.params)
    if definition.destination is not None:
        redactor.add_params(definition.destination.params)
    redactor.add_params(definition.options.params)
    redactor.add_params(request.params)
    return redactor


def is_secret_name(name: str) -> bool:
    """Tell whether a setting or a variable of that name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def redact(text: str) -> str:
    """Return the text without the secrets of all loads that this process has run."""
    return _used.redact(text)


def _forms(secret: str) -> set[str]:
    """Return the forms in which a value can turn up: as it is, in a URL, escaped, line by line."""
    candidates = {secret, secret.strip(), unquote(secret)}
    candidates |= {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    candidates |= {
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    if "\n" in secret:
        # A private key is shown line by line in tracebacks and tables.
        candidates |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= 16}
    return {candidate for candidate in candidates if len(candidate) >= _SHORTEST_SECRET}


def _passwords(text: str) -> Iterator[str]:
    """Yield the passwords in a connection string or URL, the ones in its query included."""
    if "://" not in text:
        return
    try:
        parts = urlsplit(text)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if value and _SECRET_NAME.search(name):
            yield value
            yield unquote(value)


def _is_location(text: str) -> bool:
    """Tell whether a credential is a file's path or an address without a password."""
    return text.startswith(("/", "./", "../", ":")) or bool(
        "://" in text or re.fullmatch(r"[\w./\\-]+\.(duckdb|db|sqlite3?|json)", text)
    )


def _is_plain(name: str, value: str) -> bool:
    key = name.rpartition("__")[2]
    return bool(
        re.fullmatch(r"(?i)(true|false|none|null|-?\d{1,6}(\.\d+)?)", value)
        or (_is_location(value) and not _SECRET_NAME.search(key))
        or key.lower() in _PLAIN_NAMES
    )
