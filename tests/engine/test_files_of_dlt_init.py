"""What `dlt init` writes into `.dlt` is read, in dlt's order of providers."""

import os
import textwrap

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import PluggableRunContext

from loadsmith.engine.dlt_hooks import secrets_of_load
from loadsmith.engine.sources import make_source
from loadsmith.errors import SecretNotFound
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    SourceReference,
)

CHESS = """
    import dlt

    @dlt.source
    def chess(
        config_int: int = dlt.config.value,
        subdomain: str = dlt.config.value,
        flag=dlt.config.value,
        ids=dlt.config.value,
        secret_str=dlt.secrets.value,
        secret_dict=dlt.secrets.value,
    ):
        given = [config_int, subdomain, flag, ids, secret_str, secret_dict]
        return dlt.resource([{"given": repr(given)}], name="seen", max_table_nesting=0)
"""
CHESS_CONFIG = """
    [sources.chess]
    config_int = 3
    subdomain = "acme"
    flag = false
    ids = [1, 2]
    secret_str = "in the wrong file"
"""
CHESS_SECRETS = """
    [sources.chess]
    secret_str = "s3cr3t-text"
    secret_dict = {a = "s3cr3t-in-table"}
"""
REPLICATION = """
    import dlt
    from dlt.sources.credentials import ConnectionStringCredentials

    @dlt.source(section="pg_replication")
    def replication(
        slot_name: str = dlt.config.value,
        credentials: ConnectionStringCredentials = dlt.secrets.value,
    ):
        return dlt.resource([{"id": 1}], name="seen")
"""
REPLICATION_SECRETS = """
    [sources.pg_replication.credentials]
    drivername = "<configure me>" # please set me up!
    database = "<configure me>" # please set me up!
    password = "s3cr3t-password"
    username = "<configure me>"
    host = "<configure me>"
    port = 5432
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write files and return the load of a source among them; the command runs elsewhere."""
    runs = Container()[PluggableRunContext]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    def make(module, files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        runs.reload_providers()
        return LoadDefinition(
            name=module,
            source=SourceReference(
                module=module,
                search_path=str(tmp_path),
                secrets_files=tuple(
                    str(folder / ".dlt" / "secrets.toml")
                    for folder in (tmp_path, tmp_path / module)
                ),
            ),
            destination=DestinationReference(name="duckdb"),
            pipeline=PipelineSettings(pipeline_name=module, dataset_name="raw"),
        )

    yield make
    monkeypatch.undo()
    runs.reload_providers()


def _given(definition):
    with secrets_of_load(definition, RunRequest()):
        (row,) = make_source(definition.source)
    return eval(row["given"])


def test_config_and_tables_of_secrets_reach_the_source_with_their_types(project):
    files = {"chess/__init__.py": CHESS, ".dlt/config.toml": CHESS_CONFIG}
    before = dict(os.environ)
    given = _given(project("chess", {**files, ".dlt/secrets.toml": CHESS_SECRETS}))
    assert given == [3, "acme", False, [1, 2], "s3cr3t-text", {"a": "s3cr3t-in-table"}]
    assert dict(os.environ) == before


def test_the_environment_wins_over_secrets_over_the_pipelines_config_over_the_projects(
    project, tmp_path, monkeypatch
):
    files = {
        "chess/__init__.py": CHESS,
        ".dlt/config.toml": CHESS_CONFIG,
        "chess/.dlt/config.toml": '[sources.chess]\nconfig_int = 4\nsubdomain = "<configure me>"',
        ".dlt/secrets.toml": CHESS_SECRETS + 'subdomain = "of the secrets"\n',
        # dlt reads these itself: they are in the folder where the command runs.
        "elsewhere/.dlt/config.toml": "[sources.chess]\nconfig_int = 5\nids = [9]",
    }
    definition = project("chess", files)
    assert _given(definition)[:4] == [4, "of the secrets", False, [1, 2]]
    monkeypatch.setenv("SOURCES__CHESS__CONFIG_INT", "7")
    monkeypatch.setenv("SOURCES__CHESS__SECRET_STR", "of the shell")
    assert _given(definition)[0] == 7
    assert _given(definition)[4] == "of the shell"


def test_settings_of_dlt_itself_are_in_the_environment_of_its_processes(project):
    config = "[normalize]\nworkers = 3\n[sources.chess]\nids = []"
    with secrets_of_load(project("chess", {".dlt/config.toml": config}), RunRequest()):
        assert os.environ["NORMALIZE__WORKERS"] == "3"
        assert "SOURCES__CHESS__IDS" not in os.environ
    assert "NORMALIZE__WORKERS" not in os.environ


@pytest.mark.parametrize(
    ("secrets", "section"),
    [
        ('[sources.chess]\nsecret_str = "<configure me>"\n', "[sources.chess]"),
        ('[chess]\nsecret_str = "<configure me>"\n', "[chess]"),
        ('[sources.chess.chess]\nother = "x"\n', "[sources.chess.chess]"),
    ],
)
def test_a_missing_value_belongs_into_the_section_that_is_there(project, secrets, section):
    definition = project("chess", {"chess/__init__.py": CHESS, ".dlt/secrets.toml": secrets})
    with pytest.raises(SecretNotFound) as caught:
        _given(definition)
    text = str(caught.value)
    assert section in text.splitlines()
    assert {'config_int = "..."', 'secret_str = "..."', 'secret_dict = "..."'} <= set(
        text.splitlines()
    )
    if "<configure me>" in secrets:
        assert ".dlt/secrets.toml:2 (which says '<configure me>')" in text


def test_a_value_that_is_open_in_config_is_asked_for_there(project):
    config = textwrap.dedent(CHESS_CONFIG).replace('"acme"', '"<configure me>"')
    files = {"chess/__init__.py": CHESS, "chess/.dlt/config.toml": config}
    with pytest.raises(SecretNotFound) as caught:
        _given(project("chess", {**files, ".dlt/secrets.toml": CHESS_SECRETS}))
    text = str(caught.value)
    assert "chess/.dlt/config.toml:4 (which says '<configure me>')" in text
    assert text.endswith('chess/.dlt/config.toml:\n[sources.chess]\nsubdomain = "..."')


def test_every_open_field_of_credentials_is_named_in_the_section_of_dlt_init(project):
    files = {"replication/__init__.py": REPLICATION, ".dlt/secrets.toml": REPLICATION_SECRETS}
    definition = project("replication", files)
    with pytest.raises(SecretNotFound) as caught, secrets_of_load(definition, RunRequest()):
        make_source(definition.source)
    text = str(caught.value)
    assert text.endswith(
        '[sources.pg_replication]\nslot_name = "..."\n'
        '[sources.pg_replication.credentials]\ndrivername = "..."\ndatabase = "..."\n'
        'username = "..."\nhost = "..."'
    )
    assert "s3cr3t-password" not in text


def test_an_open_value_of_dlts_own_files_is_not_sent(project):
    # dlt reads these itself, whatever the load says.
    own = '[sources.chess]\nsecret_str = "<configure me>"\nsecret_dict = "x"'
    files = {
        "chess/__init__.py": CHESS,
        ".dlt/config.toml": CHESS_CONFIG.replace("secret_str", "other"),
        "elsewhere/.dlt/secrets.toml": own,
    }
    definition = project("chess", files)
    with pytest.raises(SecretNotFound, match=r"secrets\.toml:2:1: secret_str is still '<configure"):
        _given(definition)
