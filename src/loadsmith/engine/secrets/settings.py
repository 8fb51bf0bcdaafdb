"""Decide which settings are secrets, and find the secrets inside their values."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

# A name that contains such a word is the name of a secret.
_MARKS = frozenset(
    {
        "accesskey", "accountkey", "apikey", "auth", "authorization", "bearer", "cookie", "cookies",
        "credential", "credentials", "dsn", "hook", "jwt", "key", "keys", "licence", "license",
        "otp", "pass", "passphrase", "passwd", "password", "passwords", "pat", "pin", "privatekey",
        "pwd", "salt", "sas", "secret", "secretkey", "secrets", "sig", "signature", "token",
        "tokens", "totp", "webhook",
    }
)  # fmt: skip

# `primary_key` is a setting of tables.
_KEYS_OF_TABLES = frozenset(
    {
        "business", "cluster", "cursor", "distribution", "foreign", "group", "join", "merge",
        "natural", "order", "partition", "primary", "public", "row", "sort", "surrogate", "unique",
    }
)  # fmt: skip

# `password_file` and `api_key_name` describe a secret and do not hold it.
_DESCRIPTIONS = frozenset(
    {
        "column", "columns", "count", "expiration", "field", "fields", "file", "header", "length",
        "limit", "location", "method", "mode", "name", "path", "size", "sock", "ttl", "type",
    }
)  # fmt: skip

# Fields of credentials and destinations that dlt declares as no secrets. Errors name them, and
# they say which database could not be reached.
_PLAIN_FIELDS = frozenset(
    {
        "account", "account_name", "application_name", "auth_provider_x509_cert_url", "auth_uri",
        "authenticator", "azure_account_host", "azure_storage_account_name", "bucket_url",
        "catalog", "charset", "client_email", "client_x509_cert_url", "connect_timeout",
        "create_indexes", "database", "dataset", "dataset_name", "destination_name",
        "destination_type", "drivername", "grant_type", "host", "http_path", "layout", "location",
        "name", "port", "profile_name", "project_id", "region", "region_name", "role",
        "s3_url_style", "schema", "secure", "server_hostname", "sslmode", "sslrootcert",
        "token_uri", "type", "universe_domain", "user", "username", "warehouse",
    }
)  # fmt: skip

_SECTIONS_OF_CONNECTIONS = frozenset({"credentials", "destination", "destinations"})

# Sections of `secrets.toml` that hold settings of dlt.
_SECTIONS_OF_SETTINGS = frozenset(
    {"data_writer", "extract", "load", "normalize", "providers", "runtime", "schema"}
)

# A segment of a secret address that is made of these alone is a word, such as `services`.
_WORD = re.compile(r"[a-z_.-]*")

_PAIR = re.compile(r"([A-Za-z][\w -]*?)\s*=\s*('(?:[^'\\]|\\.)*'|\"[^\"]*\"|\{[^}]*\}|[^;&\s]+)")


def is_secret_name(name: str) -> bool:
    """Tell whether a setting or a variable of that name holds a secret."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if not words or words[-1] in _DESCRIPTIONS:
        return False
    if words[-1] in ("key", "keys") and len(words) > 1 and words[-2] in _KEYS_OF_TABLES:
        return False
    return not _MARKS.isdisjoint(words)


def secrets_of_variable(name: str, value: Any, *, in_file: bool) -> Iterator[str]:
    """Yield what is secret of an environment variable or of an entry in `secrets.toml`.

    Args:
        name: `SECTION__KEY`, the name that dlt reads it by.
        value: Its value; what TOML made of it, for an entry.
        in_file: Whether it is an entry of a `secrets.toml`. All of those are secrets, but for
            numbers and the plain fields of a connection.
    """
    *sections, field = name.lower().split("__")
    is_connection = not _SECTIONS_OF_CONNECTIONS.isdisjoint(sections)
    is_setting = bool(sections) and sections[0] in _SECTIONS_OF_SETTINGS
    secret = (
        is_secret_name(name.rpartition("__")[2])
        or (in_file and not is_setting and not _is_number(value))
        or any(map(is_secret_name, sections))
    )
    if field in _PLAIN_FIELDS and (is_connection or not in_file):
        secret = False
    if field == "credentials" and "duckdb" in sections:
        # The path of the database.
        secret = False
    yield from secrets_of_setting(field, value, secret=secret, marked=False)


def secrets_of_setting(
    name: str, value: Any, *, secret: bool = False, marked: bool | None = None
) -> Iterator[str]:
    """Yield what is secret of a setting, which may hold other settings.

    Args:
        name: Its name.
        value: Text, a number, a list, or a mapping such as credentials.
        secret: Whether it is a secret whatever its name.
        marked: Whether its name marks a secret, where the caller has decided that.
    """
    secret = secret or (is_secret_name(name) if marked is None else marked)
    if isinstance(value, Mapping):
        for key, item in value.items():
            field = str(key)
            inherited = secret and field.lower() not in _PLAIN_FIELDS
            yield from secrets_of_setting(field, item, secret=inherited)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from secrets_of_setting(name, item, secret=secret, marked=False)
    elif isinstance(value, str):
        yield from _of_text(value, secret=secret)
    elif isinstance(value, bytes):
        yield from _of_text(value.decode("utf-8", "ignore"), secret=secret)
    elif secret and _is_number(value) and not isinstance(value, bool):
        yield str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _of_text(text: str, *, secret: bool) -> Iterator[str]:
    if secret and not _is_path(text):
        yield text
    if text.lstrip()[:1] in ("{", "["):
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        yield from secrets_of_setting("", data, secret=secret)
    if "://" in text:
        yield from _of_address(text, secret=secret)
    yield from _of_pairs(text, secret=secret)


def _is_path(text: str) -> bool:
    """Tell whether a value is the absolute path of something that exists, which is no guess."""
    try:
        return text.startswith("/") and Path(text).exists()
    except (OSError, ValueError):
        return False


def _of_address(text: str, *, secret: bool) -> Iterator[str]:
    """Yield the passwords of an address, also of one that is not quoted as it should be."""
    scheme, _, rest = text.partition("://")
    is_web = scheme.lower() in ("http", "https")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, _ = authority.rpartition("@")
    whole, whole_at, _ = rest.rpartition("@")
    user, _, password = before.partition(":")
    if password:
        yield from (password, unquote(password))
        # A driver cuts a password at a sign that should have been quoted, and shows a part.
        yield from re.split(r"[@\[\]]", password)
    if is_web and user:
        # Services take a token for the name of the user.
        yield from (user, unquote(user))
    if whole_at and not at:
        # `user:pass/word@host`; but `host:5432/database?owner=a@b` has no password.
        part = whole.partition(":")[2]
        yield part
        if not authority.rpartition(":")[2].isdigit():
            yield from re.split(r"[/?#@\[\]:]", part)
    if secret and is_web:
        path = rest.partition("/")[2]
        yield f"/{path}"
        yield f"/{path.partition('?')[0]}"
        for segment in re.split(r"[/?#:]", path):
            if len(segment) >= 8 and not _WORD.fullmatch(segment):
                yield from (segment, unquote(segment))


def _of_pairs(text: str, *, secret: bool) -> Iterator[str]:
    """Yield the secrets of `name=value` pairs: of a query, of libpq, of ODBC and of Azure."""
    for name, quoted in _PAIR.findall(text) if "=" in text else ():
        value = quoted[1:-1] if quoted[0] in "'\"{" else quoted
        decoded = unquote_plus(value)
        field = name.strip().lower().replace(" ", "_")
        if is_secret_name(name) or field == "code":
            yield from (value, unquote(value), decoded)
        elif secret and len(value) >= 8 and field not in _PLAIN_FIELDS:
            yield from (value, decoded)
        if decoded != value:
            yield from _of_pairs(decoded, secret=False)
