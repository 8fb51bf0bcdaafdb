"""Hide secrets in text, plain data, errors and log records."""

import base64
import logging
import os
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

from loadsmith.engine.secrets.settings import secrets_of_setting, secrets_of_variable
from loadsmith.errors import RunError, causes_of
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

_HIDDEN = "***"

# Shorter values are in every other word of a log; replacing them would tell where they are.
_SHORTEST_SECRET = 4

# Shorter values are hidden only as whole words, for the same reason.
_SHORTEST_PART = 8

# Stands for a secret while definitions are made; it says so itself, should a source ever send it.
PLACEHOLDER = "known-in-the-run"

_COMMON_WORDS = frozenset(
    {
        "<configure me>", PLACEHOLDER, "admin", "basic", "bearer", "changeme", "data", "default",
        "dlt", "duckdb", "example", "false", "guest", "header", "http", "https", "load", "local",
        "localhost", "mysql", "none", "null", "password", "postgres", "postgresql", "prefer",
        "production", "public", "require", "root", "secret", "staging", "system", "test", "token",
        "true", "user", "username", "verify-ca", "verify-full", "warning",
    }
)  # fmt: skip

# Variables of a shell whose names only look like those of secrets.
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})

# What Python's own errors make their text from, beside their arguments.
_FIELDS_OF_ERRORS = ("code", "filename", "filename2", "msg", "reason", "strerror", "text", "value")

_ESCAPES = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class Redactor:
    """Replaces the secrets of a load by `***` in what leaves the load.

    A secret is hidden as it is, URL-encoded, in base64, and escaped as JSON, HTML and `repr` do.
    Values with fewer than four characters and common words stay.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._forms: tuple[tuple[str, re.Pattern[str]], ...] = ()
        self._known = -1
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Take more values to hide."""
        self._values.update(secrets)

    def add_variables(self, variables: Mapping[str, Any]) -> None:
        """Take the entries of `secrets.toml` files, by the variables that stand for them."""
        for name, value in variables.items():
            self.add(*secrets_of_variable(name, value, in_file=True))
            if name in os.environ:
                self.add(*secrets_of_variable(name, os.environ[name], in_file=True))

    def add_environment(self) -> None:
        """Take what is secret of the environment, by name and in addresses."""
        for name, value in os.environ.items():
            if name not in _NO_SECRETS:
                self.add(*secrets_of_variable(name, value, in_file=False))

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Take what is secret of parameters, by name and in addresses."""
        for name, value in params.items():
            self.add(*secrets_of_setting(name, value))

    def add_definition(self, definition: LoadDefinition) -> None:
        """Take what is secret of the parameters of a load."""
        if isinstance(definition.source, SourceReference):
            self.add_params(definition.source.params)
        if definition.destination is not None:
            self.add_destination(definition.destination.name, definition.destination.params)
        self.add_params(definition.options.params)

    def add_destination(self, kind: str, params: Mapping[str, Any]) -> None:
        """Take what is secret of a destination's parameters.

        Args:
            kind: The name of its class, which may have a module in front.
            params: The parameters.
        """
        rest = dict(params)
        if kind.rpartition(".")[2] == "duckdb":
            # These credentials are the path of the database.
            credentials = rest.pop("credentials", None)
            self.add(*secrets_of_setting("credentials", credentials, marked=False))
        self.add_params(rest)

    def redact(self, text: str) -> str:
        """Return the text without the secrets."""
        clean: str = _replaced(text, self._patterns())
        return clean

    def redact_value(self, value: Any) -> Any:
        """Return plain data (mappings, lists, text) without the secrets."""
        # Wide schemas have many thousands of texts, and most have no secret in any of them.
        text = repr(value)
        return _replaced(value, [form for form in self._patterns() if form[0] in text])

    def clean(self, error: BaseException) -> bool:
        """Take the secrets out of an error and all that caused it; tell whether none is left.

        Text in its arguments, notes and attributes is replaced. An error that makes its text from
        something else may still show a secret: False says to raise another one instead.
        """
        if self._is_clean(error):
            return True
        for found in causes_of(error, hidden=True):
            for name in ("args", *_FIELDS_OF_ERRORS, *vars(found)):
                value = getattr(found, name, None)
                if isinstance(value, (str, list, tuple, dict)):
                    with _refusals_ignored():
                        clean = self.redact_value(value)
                        if clean != value:
                            setattr(found, name, clean)
        return self._is_clean(error)

    def _is_clean(self, error: BaseException) -> bool:
        shown = traceback.format_exception(error)
        for found in causes_of(error):
            shown += traceback.format_exception_only(found)
            shown += [value for value in found.args if isinstance(value, str)]
        return self.redact("".join(shown)) == "".join(shown)

    def raise_clean(self, error: BaseException, instead: BaseException | None = None) -> NoReturn:
        """Raise an error without secrets, of the same class where that can be.

        Args:
            error: What was raised.
            instead: What to raise because of it.

        Raises:
            RunError: The error makes its text from something that cannot be replaced.
        """
        cause = error if self.clean(error) else None
        raised = instead or error
        if not self.clean(raised):
            raised = RunError(
                f"{type(raised).__name__}: its text is left out, for it shows a secret.",
                stage=getattr(raised, "stage", ""),
                load=getattr(raised, "load", ""),
            )
        if raised is error:
            raise raised
        raise raised from cause

    def _patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        known = len(self._values) + len(_DECLARED)
        if known != self._known:
            values = {value.strip() for value in (*tuple(self._values), *tuple(_DECLARED))}
            forms = {form for value in values if _is_hidden(value) for form in _forms(value)}
            # The longest first, so that no end of one is left behind a shorter one.
            ordered = sorted(forms, key=len, reverse=True)
            self._forms = tuple((_core(form), _pattern(form)) for form in ordered)
            self._known = known
        return self._forms


# What dlt resolved as a secret in this process, for any load.
_DECLARED: set[str] = set()

_TO_DECLARE = threading.Lock()


def declare_secret(name: str, value: Any, *, secret: bool = True) -> None:
    """Hide a value in all loads of this process, because a source or a destination declared it.

    Args:
        name: The name of the setting.
        value: Text, a number, a list, or a mapping such as credentials.
        secret: False for a value that is secret only in parts, such as the path of a database.
    """
    found = set(secrets_of_setting(name, value, secret=secret, marked=False))
    with _TO_DECLARE:
        _DECLARED.update(found)


def redactor_of(
    definition: LoadDefinition | None = None,
    request: RunRequest | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Redactor:
    """Return a redactor that knows every secret that this run may see."""
    redactor = Redactor()
    redactor.add_environment()
    redactor.add_variables(variables or {})
    if definition is not None:
        redactor.add_definition(definition)
    if request is not None:
        redactor.add_params(request.params)
        redactor.add_params(
            {
                name.rpartition(".")[2]: value
                for name, value in request.variables.items()
                if not name.startswith("env.")
            }
        )
    return redactor


@contextmanager
def errors_without_secrets() -> Iterator[None]:
    """Take what is known as a secret outside of a run out of an error that leaves the block."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - raised again, without secrets
        redactor_of().raise_clean(error)


@contextmanager
def redacted_logs(redactor: Redactor) -> Iterator[None]:
    """Keep secrets out of every log record of this process, for the length of the block.

    The record is made without them, so that it does not matter which logger and which handler
    it goes to.
    """
    with _TO_LOG:
        _LOGGING.append(redactor)
        if len(_LOGGING) == 1:
            _MAKERS.append(logging.getLogRecordFactory())
            logging.setLogRecordFactory(_make_record)
    try:
        yield
    finally:
        with _TO_LOG:
            _LOGGING.remove(redactor)
            if not _LOGGING:
                maker = _MAKERS.pop()
                if logging.getLogRecordFactory() is _make_record:
                    logging.setLogRecordFactory(maker)


def redactors_of_logs() -> tuple[Redactor, ...]:
    """Return what keeps secrets out of the log here, for processes that this one starts."""
    return tuple(_LOGGING)


_LOGGING: list[Redactor] = []
_MAKERS: list[Callable[..., logging.LogRecord]] = []
_TO_LOG = threading.Lock()


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = (_MAKERS[-1] if _MAKERS else logging.LogRecord)(*args, **kwargs)
    for redactor in tuple(_LOGGING):
        _redact_record(record, redactor)
    return record


def _redact_record(record: logging.LogRecord, redactor: Redactor) -> None:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The arguments do not fit the message; the handler will say so, and shows both.
        text, record.msg = "", redactor.redact(str(record.msg))
        record.args = redactor.redact_value(record.args)
    clean = redactor.redact(text)
    if clean != text:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[1] is not None:
        shown = logging.Formatter().formatException(record.exc_info)
        clean = redactor.redact(shown)
        if clean != shown:
            record.exc_info, record.exc_text = None, clean


@contextmanager
def _refusals_ignored() -> Iterator[None]:
    """Leave an attribute of an error as it is where its class does not let it be set.

    What it shows is looked at afterwards.
    """
    try:
        yield
    except (AttributeError, TypeError, ValueError):
        return


def _replaced(value: Any, forms: Sequence[tuple[str, re.Pattern[str]]]) -> Any:
    if isinstance(value, str):
        for core, pattern in forms:
            if core in value:
                value = pattern.sub(_HIDDEN, value)
        return value
    if not forms:
        return value
    if isinstance(value, Mapping):
        return {_replaced(key, forms): _replaced(item, forms) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_replaced(item, forms) for item in value]
        # What dlt keeps of a failed normalize has named tuples in it.
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    return value


def _is_hidden(value: str) -> bool:
    return len(value) >= _SHORTEST_SECRET and value.lower() not in _COMMON_WORDS


@lru_cache(maxsize=1024)
def _forms(secret: str) -> frozenset[str]:
    """Return a secret, its lines where it has several, and it in base64 at any place of a text."""
    forms = {secret}
    # A private key is shown line by line in tracebacks and tables.
    lines = [line.strip() for line in secret.splitlines()]
    forms.update(line for line in lines if len(line) >= 16 and not line.startswith("-----"))
    raw = secret.encode("utf-8", "surrogatepass")
    if len(raw) >= _SHORTEST_PART - 2:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(raw).decode())
            for offset in range(3):
                # The signs at both ends depend on the text around.
                text = encode(b"\0" * offset + raw).decode().rstrip("=")
                end = (offset + len(raw)) * 8 // 6
                forms.add(text[(offset * 8 + 5) // 6 : end])
    return frozenset(forms)


def _core(form: str) -> str:
    """Return the longest part that all ways of escaping leave as it is."""
    return max(re.findall(r"[A-Za-z0-9]+", form), key=len, default="")


@lru_cache(maxsize=4096)
def _pattern(form: str) -> re.Pattern[str]:
    """Return a pattern of a text in which each sign may be escaped in a way of its own."""
    pattern = "".join(_escaped(part) for part in re.findall(r"\s+|\\+|[^\s\\]", form))
    if len(form) < _SHORTEST_PART:
        pattern = rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
    return re.compile(pattern)


def _escaped(part: str) -> str:
    """Return a pattern of one sign, or of a run of spaces or backslashes."""
    if re.fullmatch(r"[A-Za-z0-9]", part):
        return part
    if part.isspace():
        # Messages join lines, so any space stands for any other.
        ways = {r"\s", r"\\+[nrtfv]", r"\+", r"(?i:%(?:25)*2b)", "&nbsp;"}
        return f"(?:{'|'.join(sorted(ways | set().union(*map(_codes, part))))})+"
    if part[0] == "\\":
        return rf"(?:\\|{'|'.join(sorted(_codes(part[0])))})+"
    ways = {rf"\\*{re.escape(part)}", *_codes(part)}
    if part in _ENTITIES:
        ways.add(f"&{_ENTITIES[part]};")
    return f"(?:{'|'.join(sorted(ways))})"


def _codes(sign: str) -> set[str]:
    """Return patterns of the codes that stand for a sign in URLs, JSON, HTML and `repr`."""
    number = ord(sign)
    raw = sign.encode("utf-8", "surrogatepass")
    pairs = sign.encode("utf-16-be", "surrogatepass").hex()
    units = [pairs[start : start + 4] for start in range(0, len(pairs), 4)]
    codes = {
        "".join(f"%(?:25)*{byte:02x}" for byte in raw),
        "".join(rf"\\+x{byte:02x}" for byte in raw),
        "".join(rf"\\+u{unit}" for unit in units),
        rf"\\+U{number:08x}",
        f"&#(?:{number}|x0*{number:x});",
    }
    if number < 256:
        codes.add(rf"\\+x{number:02x}")
    if sign in _ESCAPES:
        codes.add(rf"\\+{_ESCAPES[sign]}")
    return {f"(?i:{code})" for code in codes}
