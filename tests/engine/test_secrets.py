"""Secrets come from files, for the length of a load, and are shown nowhere."""

import os
import textwrap
import threading
import urllib.parse
from typing import NamedTuple

import dlt
import pytest
from dlt.extract.exceptions import ResourceExtractionError
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.secrets import Redactor, missing_secret, secrets_in_environment
from loadsmith.engine.secrets.environment import redact, secret_variables
from loadsmith.engine.sources import make_source
from loadsmith.errors import ConfigError, SecretNotFound
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
        assert seen["GITHUB__API_TOKEN"] == "from the shell"
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
    variables = secret_variables(
        [
            secrets('''
                top = "level"
                [destination.postgres.credentials]
                port = 5432
                ssl = true
                hosts = ["a", "b"]
                key = """
                line one
                line two"""
            ''')
        ]
    )
    prefix = "DESTINATION__POSTGRES__CREDENTIALS__"
    assert variables == {
        "TOP": "level",
        f"{prefix}PORT": "5432",
        f"{prefix}SSL": "true",
        f"{prefix}HOSTS": '["a", "b"]',
        f"{prefix}KEY": "line one\nline two",
    }


def test_a_damaged_file_is_named_without_its_contents(secrets):
    path = secrets("[github]\napi_token = ghp_very_secret\n")
    with pytest.raises(ConfigError) as caught:
        secret_variables([path])
    assert f"{path}:2:" in str(caught.value)
    assert "very_secret" not in str(caught.value)


def test_loads_in_threads_share_equal_values_and_wait_for_other_ones(secrets):
    same = secrets('[github]\ntoken = "aaaa"')
    other = secrets('[github]\ntoken = "bbbb"', "other.toml")
    entered, leave, seen = threading.Event(), threading.Event(), []

    def second():
        with secrets_in_environment([other]):
            seen.append(os.environ["GITHUB__TOKEN"])

    def first():
        with secrets_in_environment([same]):
            entered.set()
            leave.wait(10)
            seen.append(os.environ["GITHUB__TOKEN"])

    one = threading.Thread(target=first)
    one.start()
    assert entered.wait(10)
    with secrets_in_environment([same]):
        assert os.environ["GITHUB__TOKEN"] == "aaaa"
    assert os.environ["GITHUB__TOKEN"] == "aaaa"
    two = threading.Thread(target=second)
    two.start()
    two.join(0.2)
    assert two.is_alive()
    leave.set()
    one.join(10)
    two.join(10)
    assert seen == ["aaaa", "bbbb"]
    assert "GITHUB__TOKEN" not in os.environ


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


def test_settings_that_are_no_secret_are_left():
    redactor = Redactor()
    redactor.add_params({"repo": "dagster-io/dagster", "credentials": "/data/github.duckdb"})
    redactor.add_variables({"X__DATABASE": "warehouse", "X__PORT": "5432", "X__TOKEN": "abc"})
    text = "dagster-io/dagster /data/github.duckdb warehouse 5432 abc"
    assert redactor.redact(text) == text


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


def test_an_error_that_shows_a_secret_is_told_from_one_that_does_not():
    redactor = Redactor(["hunter22"])
    assert redactor.is_clean(ValueError("nothing"))
    outer = RuntimeError("outer")
    outer.__cause__ = ValueError("password hunter22")
    assert not redactor.is_clean(outer)


def test_what_one_load_hid_the_process_can_hide():
    Redactor(["only-known-here"])
    assert redact("x only-known-here y") == "x *** y"
