"""Secrets are found nowhere outside the process, whatever happens to the run."""

import logging
import os
import re
import stat
import sys
import threading
import urllib.parse
from dataclasses import replace
from pathlib import Path

import dagster as dg
import dlt
import killing
import pytest
from dlt.common.configuration.exceptions import ConfigFieldMissingException

from loadsmith.assets.build import build_load_definitions
from loadsmith.assets.define import live_definition
from loadsmith.engine.run import run_load
from loadsmith.engine.sources import live_resources
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    OpSettings,
    PipelineSettings,
    ResourceSnapshot,
    RunRequest,
    SourceReference,
)

#: One secret for each way in; with signs that look otherwise in a URL, in JSON and in `repr`.
SECRETS = {
    "file": "s3cret/from file+äöü",
    "params": "s3cret&param=\"quoted'one",
    "destination": "s3cret@dest:word%2F",
    "environment": "s3cret-env#value?x",
}

SOURCE = """
import os
import re
import dlt

@dlt.source(name="leaky")
def leaky(how="fine", api_key=None, token=dlt.secrets.value):
    @dlt.resource
    def rows():
        text = " ".join([str(api_key), str(token), os.environ["LEAKY_PASSWORD"]])
        print("the source prints", text)
        yield [{"id": 1}]
        if how == "raises":
            raise ValueError(f"cannot log in with {text}")
        if how == "requests":
            from urllib.parse import quote_plus
            raise ConnectionError(f"GET https://x/?api_key={quote_plus(api_key)}&t={quote_plus(token)}")

    return rows
"""


def forms(secret: str) -> set[str]:
    """Return the forms in which a secret could be written somewhere."""
    return {
        secret,
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
    }


def make_load(folder: Path, destination: str, how: str) -> LoadDefinition:
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "sources" / f"leaky_{folder.name}.py").write_text(SOURCE)
    (folder / "secrets.toml").write_text(
        f"[sources.leaky]\ntoken = {_toml(SECRETS['file'])}\n", "utf-8"
    )
    params = {
        "duckdb": {"database": str(folder / "x.duckdb")},
        "refused": {
            "credentials": "postgresql://postgres:"
            + urllib.parse.quote(SECRETS["destination"], safe="")
            + "@127.0.0.1:1/postgres"
        },
    }
    return LoadDefinition(
        name="leaky_load",
        source=SourceReference(
            module=f"leaky_{folder.name}",
            params={"how": how, "api_key": SECRETS["params"]},
            search_path=str(folder / "sources"),
            secrets_files=(str(folder / "secrets.toml"),),
        ),
        pipeline=PipelineSettings(
            pipeline_name="leaky", dataset_name="ds", pipelines_dir=str(folder / "pipelines")
        ),
        destination=DestinationReference(
            name="duckdb" if destination == "duckdb" else "postgres", params=params[destination]
        ),
        op=OpSettings(max_retries=0),
        snapshot_path=None,
    )


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("destination", "how"),
    [("duckdb", "fine"), ("duckdb", "raises"), ("duckdb", "requests"), ("refused", "fine")],
)
def test_no_secret_is_found_in_what_a_run_leaves_behind(
    tmp_path, monkeypatch, capfd, destination, how
):
    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["environment"])
    home = tmp_path / "dagster_home"
    home.mkdir()
    load = make_load(tmp_path, destination, how)
    defs = build_load_definitions([load])
    before = dict(os.environ)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert result.success == ((destination, how) == ("duckdb", "fine"))
        logs = "\n".join(
            repr(log) + str(log.dagster_event) for log in instance.all_logs(result.run_id)
        )
        run = repr(instance.get_run_by_id(result.run_id))
    assert dict(os.environ) == before
    shown = capfd.readouterr()
    # What the source itself prints goes where its author sends it; it is told apart by its words.
    printed = "\n".join(
        line
        for line in (shown.out + shown.err).splitlines()
        if not line.startswith("the source prints")
    )
    places = {"events": logs, "run": run, "output": printed}
    own = {tmp_path / "secrets.toml", *(tmp_path / "sources").rglob("*")}
    compute_logs = []
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in own:
            text = path.read_bytes().decode("utf-8", "replace")
            if path.suffix in (".out", ".err"):
                compute_logs.append(path)
                text = "\n".join(
                    line for line in text.splitlines() if not line.startswith("the source prints")
                )
            places[str(path.relative_to(tmp_path))] = text
    assert len(places) > 5
    leaks = [
        (place, name)
        for place, text in places.items()
        for name, secret in SECRETS.items()
        for form in forms(secret)
        if form in text
    ]
    assert leaks == []


def test_an_error_after_the_load_shows_no_secret(make_shop, monkeypatch):
    """What reports a result, or confirms that it was reported, may fail as well."""
    shop = make_shop("duckdb")
    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["environment"])
    definition = live_definition(lambda: killing.make_source(shop, 0), shop.make_pipeline)
    with (
        pytest.raises(ConnectionError, match=r"cannot log in with \*\*\*"),
        run_load(definition, RunRequest()),
    ):
        raise ConnectionError(f"cannot log in with {os.environ['LEAKY_PASSWORD']}")


def test_a_request_that_is_printed_shows_no_secret():
    request = RunRequest(variables={"env.X": "s3cret-x"}, params={"table_name": "s3cret-y"})
    definition = make_definition_with_secret("s3cret-z")
    assert "s3cret" not in f"{request!r} {definition!r}"


def make_definition_with_secret(secret: str) -> LoadDefinition:
    return LoadDefinition(
        name="leaky_load",
        source=SourceReference(module="leaky", params={"api_key": secret}),
        pipeline=PipelineSettings(pipeline_name="leaky"),
        destination=DestinationReference(name="postgres", params={"credentials": secret}),
    )


def test_a_placeholder_is_seen_by_the_thread_that_defines_and_by_no_other():
    seen = []

    def look():
        seen.append((dlt.secrets.get("sources.any_mark"), "SOURCES__ANY_MARK" in os.environ))

    @dlt.source(name="asking")
    def asking(any_mark: str = dlt.secrets.value):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return dlt.resource([{"mark": any_mark}], name="rows")

    source, _ = live_resources(asking, needs_secrets=False)
    assert list(source) == [{"mark": "known-in-the-run"}]
    assert seen == [(None, False)]
    with pytest.raises(ConfigFieldMissingException, match="ANY_MARK"):
        live_resources(asking)


def test_working_directories_belong_to_their_owner_alone(make_shop):
    shop = make_shop("duckdb")
    assert killing.run_batch(shop, 0).success
    folders = [shop.pipelines_dir / ".loadsmith", shop.pipelines_dir / shop.pipeline_name]
    for folder in folders:
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder


def test_a_snapshot_holds_no_secret(tmp_path, monkeypatch):
    from loadsmith.engine.snapshots import inspect_load

    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["environment"])
    snapshot = inspect_load(make_load(tmp_path, "duckdb", "fine"))
    assert isinstance(snapshot, LoadSnapshot)
    assert isinstance(snapshot.resources[0], ResourceSnapshot)
    text = repr(snapshot)
    assert not [name for name, secret in SECRETS.items() if any(f in text for f in forms(secret))]


def test_the_errors_of_dlt_are_kept_as_causes_only_where_they_are_clean(make_shop, monkeypatch):
    shop = make_shop("duckdb")
    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["environment"])

    @dlt.source(name="telling")
    def telling():
        def rows():
            yield {"id": 1}
            raise ValueError(f"no such password: {os.environ['LEAKY_PASSWORD']}")

        return dlt.resource(rows, name="rows")

    result = killing.run_batch(shop, 0, source=telling)
    error = result.failure_data_for_node("shop_load").error
    told = []
    while error is not None:
        told.append(error.to_string())
        error = error.cause
    assert any("no such password" in text for text in told)
    assert SECRETS["environment"] not in "\n".join(told)


def test_a_destination_that_tells_a_secret_while_it_loads_is_not_repeated(
    make_shop, tmp_path, monkeypatch, capfd
):
    # dlt's handler writes to the standard error of the test that came first, which is closed.
    for handler in logging.getLogger("dlt").handlers:
        if type(handler) is logging.StreamHandler:
            handler.setStream(sys.stderr)
    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["environment"])
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "2")
    shop = make_shop("filesystem")

    @dlt.destination(name="sink")
    def sink(items, table):
        secret = os.environ["LEAKY_PASSWORD"]
        raise ConnectionError(f"cannot log in with {secret} or {urllib.parse.quote_plus(secret)}")

    def make_pipeline():
        return dlt.pipeline(
            "sink", destination=sink, dataset_name="ds", pipelines_dir=str(shop.pipelines_dir)
        )

    @dlt.source(name="plain")
    def plain():
        return dlt.resource([{"id": 1}], name="rows")

    defs = killing.loads_of(replace(shop, pipeline_name="sink"), plain, pipeline=make_pipeline)
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, raise_on_error=False
        )
        assert not result.success
        logs = "\n".join(repr(log) for log in instance.all_logs(result.run_id))
    assert "cannot log in with" in logs
    shown = capfd.readouterr()
    places = {"events": logs, "output": shown.out + shown.err}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            places[str(path.relative_to(tmp_path))] = text
    leaks = [
        place
        for place, text in places.items()
        for form in forms(SECRETS["environment"])
        if form in text
    ]
    assert leaks == []


LOUD = """
import logging
import os
import re

from dlt.common.normalizers.naming.snake_case import NamingConvention as SnakeCase


class NamingConvention(SnakeCase):
    def normalize_identifier(self, identifier):
        logging.getLogger("loud").error("with %s in %s", os.environ["LOUD_TOKEN"], os.getpid())
        return super().normalize_identifier(identifier)
"""


def load_loudly(folder: str) -> None:
    # The process that starts this one may be older than the test.
    path = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    os.environ |= {
        "LOUD_TOKEN": "s3cret-of-a-worker",
        "NORMALIZE__START_METHOD": "spawn",
        "NORMALIZE__WORKERS": "2",
        "PYTHONPATH": path,
        "SCHEMA__NAMING": "loud_naming",
    }
    sys.path.insert(0, folder)
    pages = [[{"id": number} for number in range(10)]]
    definition = LoadDefinition(
        name="loud",
        source=lambda: [dlt.resource(pages, name=name) for name in ("one", "two", "three")],
        pipeline=lambda: dlt.pipeline(
            "loud", destination=dlt.destinations.duckdb(f"{folder}/loud.db"), pipelines_dir=folder
        ),
    )
    with run_load(definition, RunRequest()):
        os.write(1, f"loaded in {os.getpid()}\n".encode())


def test_a_process_that_normalizes_logs_no_secret(tmp_path):
    (tmp_path / "loud_naming.py").write_text(LOUD)
    output = tmp_path / "output"
    child = killing.in_child(load_loudly, str(tmp_path), output=output)
    child.join(120)
    assert child.exitcode == 0, output.read_text()
    told = output.read_text()
    own = told.partition("loaded in ")[2].split()[0]
    processes = set(re.findall(r"with \S+ in (\d+)", told))
    # Some lines are of processes that dlt has started.
    assert processes - {own}, told
    assert "s3cret-of-a-worker" not in told
