"""Secrets come from files, for the length of a load, and are shown nowhere."""

import base64
import html
import json
import logging
import os
import queue
import sys
import textwrap
import threading
import traceback
import urllib.parse
from typing import NamedTuple

import dlt
import pytest
from dlt.extract.exceptions import ResourceExtractionError
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import assume, given, settings, strategies as st

from loadsmith.engine.secrets import (
    Redactor,
    declare_secret,
    is_secret_name,
    missing_secret,
    redacted_logs,
    secrets_in_environment,
)
from loadsmith.engine.secrets.files import secret_variables
from loadsmith.engine.sources import make_source
from loadsmith.errors import ConfigError, RunError, SecretNotFound
from loadsmith.model import SourceReference


@pytest.fixture
def secrets(tmp_path):
    def write(text: str, name: str = "secrets.toml") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def test_a_section_becomes_a_variable_for_the_length_of_the_block(secrets):
    before = dict(os.environ)
    with secrets_in_environment([secrets('[github]\napi_token = "ghp_1"')]):
        assert os.environ["GITHUB__API_TOKEN"] == "ghp_1"
        assert os.environ["SOURCES__GITHUB__API_TOKEN"] == "ghp_1"
    assert dict(os.environ) == before


def test_the_environment_is_as_before_after_an_error(secrets):
    before = dict(os.environ)
    with (
        pytest.raises(ZeroDivisionError),
        secrets_in_environment([secrets('[github]\napi_token = "ghp_1"')]),
    ):
        raise ZeroDivisionError
    assert dict(os.environ) == before


def test_what_is_set_already_wins(secrets, monkeypatch):
    monkeypatch.setenv("GITHUB__API_TOKEN", "from the shell")
    with secrets_in_environment([secrets('[github]\napi_token = "ghp_1"')]) as seen:
        assert os.environ["GITHUB__API_TOKEN"] == "from the shell"
        redactor = Redactor()
        redactor.add_variables(seen)
        assert redactor.redact("ghp_1 or from the shell") == "*** or ***"
    assert os.environ["GITHUB__API_TOKEN"] == "from the shell"


def test_the_later_file_wins(secrets):
    files = [
        secrets('[github]\napi_token = "common"\nother = "kept"'),
        secrets('[github]\napi_token = "own"', "own.toml"),
        "/there/is/no/such/file.toml",
    ]
    variables = secret_variables(files)
    assert variables["GITHUB__API_TOKEN"] == "own"
    assert variables["GITHUB__OTHER"] == "kept"


def test_every_kind_of_value_is_text_that_dlt_reads(secrets):
    path = secrets(
        '''
            top = "level"
            [destination.postgres.credentials]
            port = 5432
            ssl = true
            hosts = ["a", "b"]
            key = """
            line one
            line two"""
        '''
    )
    prefix = "DESTINATION__POSTGRES__CREDENTIALS__"
    expected = {
        "TOP": "level",
        f"{prefix}PORT": "5432",
        f"{prefix}SSL": "true",
        f"{prefix}HOSTS": '["a", "b"]',
        f"{prefix}KEY": "line one\nline two",
    }
    with secrets_in_environment([path]):
        assert {name: os.environ[name] for name in expected} == expected


def test_a_secret_that_no_variable_can_hold_is_refused_by_name(secrets):
    path = secrets('[github]\ntoken = "ab\\u0000cd"')
    with (
        pytest.raises(ConfigError, match=r"^GITHUB__TOKEN: no environment variable can hold a NUL"),
        secrets_in_environment([path]),
    ):
        pass
    assert "GITHUB__TOKEN" not in os.environ


def test_a_damaged_file_is_named_without_its_contents(secrets):
    path = secrets("[github]\napi_token = ghp_very_secret\n")
    with pytest.raises(ConfigError) as caught:
        secret_variables([path])
    assert f"{path}:2:" in str(caught.value)
    assert "very_secret" not in str(caught.value)


class Holder:
    """A thread that is in `secrets_in_environment` from `enter` until `leave`."""

    def __init__(self, *files, **kwargs):
        self.entered, self.left, self.seen = threading.Event(), threading.Event(), []
        self.log, self.error = queue.SimpleQueue(), None
        self._files, self._kwargs = files, {"log": self.log.put, **kwargs}
        self._leave = [threading.Event() for _ in files]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self, depth=0):
        try:
            with secrets_in_environment([self._files[depth]], **self._kwargs):
                self.seen.append(os.environ["GITHUB__TOKEN"])
                self.entered.set()
                self._leave[depth].wait(30)
                if depth + 1 < len(self._files):
                    self._run(depth + 1)
        except (InterruptedError, RunError) as error:
            self.error = self.error or error
        if not depth:
            self.left.set()

    def leave(self, depth=0):
        self._leave[depth].set()


def test_loads_in_threads_share_equal_values_and_wait_for_other_ones(secrets):
    first = Holder(secrets('[github]\ntoken = "aaaa"'), who="the first")
    assert first.entered.wait(30)
    with secrets_in_environment([secrets('[github]\ntoken = "aaaa"', "same.toml")]):
        assert os.environ["GITHUB__TOKEN"] == "aaaa"
    assert os.environ["GITHUB__TOKEN"] == "aaaa"
    second = Holder(secrets('[github]\ntoken = "bbbb"', "other.toml"), who="the second")
    line = second.log.get(timeout=30)
    assert "the first, which needs another value of 'GITHUB__TOKEN'" in line
    assert "aaaa" not in line
    assert not second.seen
    first.leave()
    assert second.entered.wait(30)
    second.leave()
    assert second.left.wait(30)
    assert (first.seen, second.seen) == (["aaaa"], ["bbbb"])
    assert "GITHUB__TOKEN" not in os.environ


def test_the_wait_for_a_secret_ends_when_the_run_is_cancelled(secrets):
    first = Holder(secrets('[github]\ntoken = "aaaa"'))
    assert first.entered.wait(30)
    second = Holder(secrets('[github]\ntoken = "bbbb"', "other.toml"), cancelled=lambda: True)
    assert second.left.wait(30)
    assert isinstance(second.error, InterruptedError)
    first.leave()
    assert first.left.wait(30)


def test_loads_that_would_wait_for_each_other_fail_and_say_so(secrets):
    shared = '[github]\ntoken = "same"\n'
    one = Holder(
        secrets(shared + 'one = "x"', "a1.toml"),
        secrets(shared + 'two = "y"', "b2.toml"),
        who="one",
    )
    two = Holder(
        secrets(shared + 'two = "x"', "b1.toml"),
        secrets(shared + 'one = "y"', "a2.toml"),
        who="two",
    )
    assert one.entered.wait(30)
    assert two.entered.wait(30)
    one.leave()
    # One waits for `two` now, so the other would wait for ever.
    assert "two, which needs another value" in one.log.get(timeout=30)
    two.leave()
    assert two.left.wait(30)
    assert isinstance(two.error, RunError)
    assert "needs another value of 'GITHUB__ONE' than one" in str(two.error)
    one.leave(1)
    assert one.left.wait(30)
    assert one.error is None
    assert one.seen == ["same", "same"]


def test_a_load_inside_a_load_waits_for_others_that_share_a_value(secrets):
    first = Holder(
        secrets('[github]\ntoken = "aaaa"'), secrets('[github]\ntoken = "bbbb"', "other.toml")
    )
    other = Holder(secrets('[github]\ntoken = "aaaa"', "same.toml"), who="the other")
    assert first.entered.wait(30)
    assert other.entered.wait(30)
    first.leave()
    assert "the other, which needs another value" in first.log.get(timeout=30)
    assert os.environ["GITHUB__TOKEN"] == "aaaa"
    other.leave()
    first.leave(1)
    assert first.left.wait(30)
    assert first.seen == ["aaaa", "bbbb"]


def test_a_load_in_a_thread_of_dlt_is_inside_the_load_that_started_it(secrets):
    outer = secrets('[github]\ntoken = "aaaa"')
    inner = secrets('[github]\ntoken = "bbbb"', "other.toml")
    seen = []

    @dlt.resource(parallelized=True)
    def rows():
        with secrets_in_environment([inner]):
            seen.append(os.environ["GITHUB__TOKEN"])
        yield {"id": 1}

    with secrets_in_environment([outer]):
        list(rows())
        assert os.environ["GITHUB__TOKEN"] == "aaaa"
    assert seen == ["bbbb"]


def test_a_load_inside_a_load_gets_its_own_values(secrets):
    outer = secrets('[github]\ntoken = "aaaa"')
    inner = secrets('[github]\ntoken = "bbbb"', "other.toml")
    with secrets_in_environment([outer]):
        with secrets_in_environment([inner]):
            assert os.environ["GITHUB__TOKEN"] == "bbbb"
        assert os.environ["GITHUB__TOKEN"] == "aaaa"
    assert "GITHUB__TOKEN" not in os.environ


def test_dlt_finds_the_section_of_a_source(secrets, tmp_path):
    (tmp_path / "source.py").write_text(
        "import dlt\n"
        "@dlt.source\n"
        "def github(api_token=dlt.secrets.value):\n"
        "    return dlt.resource([{'length': len(api_token)}], name='lengths')\n"
    )
    path = secrets('[github]\napi_token = "ghp_1"')
    recipe = SourceReference(module="source", search_path=str(tmp_path), secrets_files=(path,))
    with secrets_in_environment([path]):
        assert list(make_source(recipe)) == [{"length": 5}]
    with pytest.raises(SecretNotFound) as caught:
        make_source(recipe)
    text = str(caught.value)
    assert text.startswith("Environment variable 'GITHUB__API_TOKEN' not found")
    assert path in text
    assert '[github]\napi_token = "..."' in text


def test_a_secret_that_code_reads_from_the_environment_is_named(secrets):
    path = secrets("")

    @dlt.resource
    def rows():
        yield {"token": os.environ["GITHUB__API_TOKEN"]}

    with secrets_in_environment([path]), pytest.raises(ResourceExtractionError) as caught:
        list(rows())
    error = missing_secret(caught.value, [path])
    assert isinstance(error, SecretNotFound)
    assert "Environment variable 'GITHUB__API_TOKEN' not found" in str(error)


def test_another_key_error_is_no_missing_secret():
    with pytest.raises(KeyError) as caught:
        {}["GITHUB__API_TOKEN"]
    assert missing_secret(caught.value, []) is None


def test_missing_credentials_of_a_destination_are_named(tmp_path):
    pipeline = dlt.pipeline("p", destination="postgres", pipelines_dir=str(tmp_path))
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.run([{"id": 1}], table_name="t")
    error = missing_secret(caught.value, ["/x/secrets.toml"])
    assert error is not None
    assert "[destination.postgres.credentials]" in str(error)


@pytest.mark.parametrize(
    "secret", ["p@ss/w:rd?&#", "söm€ 'quoted' \"x\"", "back\\slash\nnew line", "a+b c%20d"]
)
def test_no_form_of_a_secret_is_left(secret):
    redactor = Redactor([secret])
    for form in (
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        repr(secret)[1:-1],
    ):
        assert redactor.redact(f"before {form} after") == "before *** after"


def test_passwords_of_connection_strings_are_hidden():
    redactor = Redactor()
    redactor.add_params(
        {"credentials": "postgresql://me:s3cr%40t@db.example/x?sslpassword=othersecret"}
    )
    shown = redactor.redact("me s3cr%40t s3cr@t othersecret db.example")
    assert shown == "me *** *** *** db.example"


def test_settings_that_are_no_secret_are_left(tmp_path):
    redactor = Redactor()
    redactor.add_destination("duckdb", {"credentials": "/data/github.duckdb"})
    redactor.add_destination("postgres", {"credentials": {"host": "db.example", "port": 5432}})
    redactor.add_params(
        {
            "repo": "dagster-io/dagster",
            "primary_key": "customer_id",
            "merge_key": ["day", "shop"],
            "password_file": "/run/pw.txt",
            "access_token": str(tmp_path),
        }
    )
    redactor.add_variables(
        {
            "DESTINATION__DATABASE": "warehouse",
            "DESTINATION__POSTGRES__CREDENTIALS__HOST": "db.intern",
            "RUNTIME__LOG_LEVEL": "WARNING",
            "CRM__PAGES": 1500,
            "CRM__TOKEN": "abc",
            "CRM__PASSWORD": "postgres",
            "CRM__API_TOKEN": "<configure me>",
        }
    )
    text = (
        f"dagster-io/dagster /data/github.duckdb {tmp_path}/x warehouse db.example db.intern 5432"
        " customer_id day shop /run/pw.txt WARNING 1500 abc postgres <configure me>"
    )
    assert redactor.redact(text) == text


def test_short_secrets_are_hidden_only_as_whole_words():
    redactor = Redactor(["4711", "hunter2"])
    assert (
        redactor.redact("4711, 147113 rows, hunter2s, hunter2.")
        == "***, 147113 rows, hunter2s, ***."
    )


@pytest.mark.parametrize(
    ("variable", "value", "shown", "secret"),
    [
        ("CRM__TOKEN", "/wJalrXUtnFEMI/K7MDENG", "sig /wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("CRM__TOKEN", ":abcdefSECRET123", "tok :abcdefSECRET123", "abcdefSECRET"),
        ("CRM__TOKEN", "./Passw0rd!", "pw ./Passw0rd!", "Passw0rd"),
        ("CRM__TOKEN", "hunter22.json", "pw hunter22.json", "hunter22"),
        ("CRM__TOKEN", "s3cr3t-tok.db", "pw s3cr3t-tok.db", "s3cr3t"),
        ("CRM__PASSWORD", "482913", "login failed for 482913", "482913"),
        ("CRM__PIN", 482913, "login failed for 482913", "482913"),
        ("CRM__USER", "apikeyASuser99", "auth apikeyASuser99:", "apikeyASuser99"),
        ("CRM__HOOK", "https://h.example/T0/XXSECRETXX", "no path /T0/XXSECRETXX", "XXSECRETXX"),
        ("CRM__URL", "https://x.example/bot12:SECRET12/", "POST /bot12:SECRET12/", "SECRET12"),
        ("CRM__URL", "https://x.example/c?sig=SECRET12%3D", "sig=SECRET12= is old", "SECRET12"),
        ("CRM__URL", "https://x.example/?key=AIzaSECRET", "key AIzaSECRET", "AIzaSECRET"),
        ("CRM__URL", "https://SECRET12:x@x.example", "user SECRET12", "SECRET12"),
        ("X__CREDENTIALS", "postgresql://u:pa[ss1word@h/db", "host pa[ss1word", "ss1word"),
        ("X__CREDENTIALS", "postgresql://u:pass/SECRET1@h:5432/db", "host SECRET1", "SECRET1"),
        ("X__CREDENTIALS", "postgresql://u:pass#SECRET1@h:5432/db", "host SECRET1", "SECRET1"),
        ("X__CREDENTIALS", "postgresql://u:pass?SECRET1@h:5432/db", "host SECRET1", "SECRET1"),
        ("X__CREDENTIALS", "postgresql://u:pa@SECRET1@h:5432/db", "host SECRET1", "SECRET1"),
        (
            "X__CREDENTIALS",
            "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dsa%3BPWD%3DSECRET1",
            "DRIVER=X;UID=sa;PWD=SECRET1",
            "SECRET1",
        ),
        ("X__CREDENTIALS", "snowflake://u:@a/db?private_key=MIISECRET", "MIISECRET", "MIISECRET"),
        ("X__CREDENTIALS", "host=h user=u password='SEC RET1' dbname=d", "SEC RET1", "SEC RET1"),
        (
            "X__CREDENTIALS",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET12==",
            "key SECRET12==",
            "SECRET12",
        ),
        ("CRM__TOKENS", ["tokAAAA1", "tokBBBB2"], "failed tokBBBB2", "tokBBBB2"),
        ("CRM__TOKENS", '["tokAAAA1", "tokBBBB2"]', "failed tokBBBB2", "tokBBBB2"),
        ("CRM__CREDS", '{"a": {"b": "tokAAAA1"}}', "failed tokAAAA1", "tokAAAA1"),
        (
            "X__CREDENTIALS",
            '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQ\\n"}',
            "failed MIIEvQIBADANBgkqhkiG9w0BAQ",
            "MIIEvQIBADANBgkqhkiG9w0BAQ",
        ),
    ],
)
def test_entries_of_a_secrets_file_are_hidden_whatever_they_look_like(
    variable, value, shown, secret
):
    redactor = Redactor()
    redactor.add_variables({variable: value})
    assert secret in shown
    assert secret not in redactor.redact(shown)


@pytest.mark.parametrize(
    "name",
    [
        "CRM__KEY", "STRIPE_KEY", "APIKEY", "AZURE_STORAGE_ACCOUNT_KEY", "AccountKey", "api_keys",
        "CRM__LICENSE", "CRM__PIN", "CRM__COOKIE", "JWT", "CRM__OTP", "WEBHOOK_URL", "SENTRY_DSN",
        "AWS_SESSION_TOKEN", "slack_incoming_hook",
    ],
)  # fmt: skip
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "primary_key", "merge_key", "partition_key", "api_key_name", "password_file", "monkey",
        "spinner", "author", "passport_country", "repository",
    ],
)  # fmt: skip
def test_names_of_other_settings(name):
    assert not is_secret_name(name)


def test_nested_parameters_are_searched():
    redactor = Redactor()
    redactor.add_params(
        {"config": {"client": {"auth": {"token": "tok-123"}, "base_url": "http://x"}}}
    )
    assert redactor.redact_value({"a": ["tok-123", 1], "b": "http://x"}) == {
        "a": ["***", 1],
        "b": "http://x",
    }


def test_named_tuples_stay_what_they_are():
    class Metrics(NamedTuple):
        file: str
        rows: int

    redactor = Redactor(["hunter22"])
    assert redactor.redact_value([Metrics("hunter22.gz", 1)]) == [Metrics("***.gz", 1)]


class Talkative(Exception):
    """Makes its text from what it was given, and gives none of it away."""

    def __init__(self, secret):
        super().__init__()
        self.get = lambda: secret

    def __str__(self):
        return f"no {self.get()}"


def test_secrets_are_taken_out_of_an_error_and_its_causes():
    redactor = Redactor(["hunter22"])
    assert redactor.clean(ValueError("nothing"))
    error = RuntimeError("outer")
    error.__cause__ = PermissionError(13, "denied", "/home/hunter22/x")
    error.__cause__.__context__ = KeyError("hunter22")
    error.__context__ = SystemExit("hunter22")
    assert redactor.clean(error)
    shown = "".join(traceback.format_exception(error))
    assert "/home/***/x" in shown
    assert "hunter22" not in shown + repr(error.__context__.code)


def test_secrets_are_taken_out_of_notes():
    redactor = Redactor(["hunter22"])
    error = ValueError("outer hunter22")
    # Python 3.11 shows them; earlier ones have no method for it.
    error.__notes__ = ["log in with hunter22"]
    assert redactor.clean(error)
    assert error.__notes__ == ["log in with ***"]


def test_an_error_that_keeps_its_secret_is_replaced():
    secret = "hunter" + "22"
    redactor = Redactor([secret])
    with pytest.raises(RunError) as caught:
        redactor.raise_clean(Talkative(secret))
    shown = "".join(traceback.format_exception(caught.value))
    assert "Talkative: its text is left out, for it shows a secret." in shown
    assert secret not in shown


def test_what_a_source_declared_as_a_secret_is_hidden_in_every_load():
    declare_secret("any_name", "declared-by-crm")
    assert Redactor().redact("x declared-by-crm y") == "x *** y"


def test_no_logger_of_the_process_shows_a_secret(capsys):
    logger = logging.getLogger("dlt.sources.helpers.some_child")
    handler = logging.StreamHandler(sys.stdout)
    logger.addHandler(handler)
    before = logging.getLogRecordFactory()
    try:
        with redacted_logs(Redactor(["hunter22"])), redacted_logs(Redactor(["otherpw1"])):
            logger.warning("log in with %s and %s", "hunter22", {"pw": "otherpw1"})
            try:
                raise ValueError("hunter22")
            except ValueError:
                logger.exception("cannot")
    finally:
        logger.removeHandler(handler)
    assert logging.getLogRecordFactory() is before
    shown = capsys.readouterr().out
    assert "log in with *** and {'pw': '***'}" in shown
    assert "ValueError: ***" in shown
    assert "hunter22" not in shown


@settings(deadline=None)
@given(
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=8).filter(
        lambda text: len(text.strip()) >= 8
    ),
    before=st.text(),
    after=st.text(),
)
def test_no_text_is_left_in_any_form(secret, before, after):
    redactor = Redactor([secret])
    assume(redactor.redact(before + after) == before + after)
    raw = (before + secret + after).encode("utf-8", "surrogatepass")
    for shown in (
        f"{before} {secret} {after}",
        repr([before, secret]),
        json.dumps({"a": secret}),
        json.dumps(json.dumps([secret], ensure_ascii=False)),
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=":/?"),
        urllib.parse.quote_plus(urllib.parse.quote_plus(secret)),
        html.escape(secret),
        " ".join(secret.split()),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    ):
        clean = redactor.redact(shown)
        assert secret.strip() not in clean
        assert "***" in clean
