"""No secret leaves a load, whatever its door and whatever the source raises with it."""

import base64
import contextlib
import json
import tempfile
import traceback
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import dlt
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

SOURCE = """
import asyncio
import base64
import json
import logging
import os
from urllib.parse import quote, quote_plus

import dlt


class Stop(BaseException):
    pass


class Talkative(Exception):
    def __init__(self, text):
        super().__init__()
        self.get = lambda: text

    def __str__(self):
        return self.get()


def with_cause(text):
    error = ValueError("cannot log in")
    error.__cause__ = KeyError(text)
    return error


def with_note(text):
    error = ValueError("cannot log in")
    error.__notes__ = [text]
    return error


def group(text):
    import builtins

    kind = getattr(builtins, "BaseExceptionGroup", None)
    return kind(text, [ValueError(text), Stop(text)]) if kind else ValueError(text)


HOW = {
    "ValueError": ValueError,
    "KeyError": KeyError,
    "OSError": lambda text: OSError(2, text, text),
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "BaseException": Stop,
    "text made late": Talkative,
    "cause": with_cause,
    "note": with_note,
    "group": group,
}


def orders_rows(filed=dlt.secrets.value, declared=dlt.secrets.value):
    yield {"id": 1}
    secrets = [filed, declared, os.environ["LEAKY_PASSWORD"]]
    text = " ".join(
        way(secret)
        for secret in secrets
        for way in (
            str, repr, json.dumps, quote, quote_plus,
            lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        )
    )
    logging.getLogger("dlt.leaky.child").error("refused: %s", text)
    raise HOW[os.environ["HOW"]](text)


def resources(prefix=""):
    orders = dlt.resource(orders_rows, name=f"{prefix}orders")
    others = [
        dlt.resource([{"id": 1}], name=prefix + name) for name in ("users", "details", "nothing")
    ]
    return orders, *others


@dlt.source(name="shop")
def shop():
    return resources()
"""

KINDS = (
    "ValueError", "KeyError", "OSError", "SystemExit", "KeyboardInterrupt", "CancelledError",
    "BaseException", "text made late", "cause", "note", "group",
)  # fmt: skip

SETTINGS = {
    "deadline": None,
    "database": None,
    # One example takes seconds, so that a failing one is not made smaller.
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}

# Hypothesis draws texts of the code as well, such as `pipeline_name`, and zeros are in every file.
SECRETS = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=8, max_size=30
    )
    .filter(lambda text: len(text.strip()) >= 8)
    .map(lambda text: f"{text}~Zq7" if text.isascii() else text),
    min_size=3,
    max_size=3,
    unique=True,
)


def toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def forms(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(b"user:" + raw).decode(),
    }


@pytest.mark.parametrize("how", KINDS)
def test_no_secret_leaves_a_load_whatever_is_raised(doors, how, tmp_path, monkeypatch, capfd):
    @settings(max_examples=2, **SETTINGS)
    @given(values=SECRETS)
    def run_with(values):
        with monkeypatch.context() as patch, tempfile.TemporaryDirectory(dir=tmp_path) as name:
            check(doors[0], how, values, Path(name), patch, capfd)

    run_with()


@pytest.mark.long
def test_no_secret_leaves_a_load_through_any_door(door_class, tmp_path, monkeypatch, capfd):
    @settings(max_examples=3, **SETTINGS)
    @given(values=SECRETS, how=st.sampled_from(KINDS))
    def run_with(values, how):
        with monkeypatch.context() as patch, tempfile.TemporaryDirectory(dir=tmp_path) as name:
            check(door_class, how, values, Path(name), patch, capfd)

    run_with()


def check(door_class, how, values, folder, patch, capfd):
    filed, declared, in_environment = values
    settings_folder = folder / ".dlt"
    settings_folder.mkdir()
    (settings_folder / "secrets.toml").write_text(f"[sources]\nfiled = {toml(filed)}\n", "utf-8")
    patch.setenv("SOURCES__DECLARED", declared)
    patch.setenv("LEAKY_PASSWORD", in_environment)
    patch.setenv("HOW", how)
    patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    # dlt has read the files of another folder.
    dlt.current.run_context().reload()
    door = door_class(folder)
    source = folder / f"{door.module_name}.py"
    source.write_text(SOURCE)
    asked = SimpleNamespace(
        settings={}, resource_settings={}, partitions=None, run_params={}, options={}
    )
    places = {}
    home = folder / "home"
    home.mkdir()
    capfd.readouterr()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        try:
            result = (
                door.build(asked)
                .resolve_implicit_global_asset_job_def()
                .execute_in_process(instance=instance, raise_on_error=False)
            )
            assert not result.success
        except BaseException as error:  # noqa: BLE001 - what is raised is what is looked at
            places["raised"] = "".join(traceback.format_exception(error))
        runs = instance.get_runs()
        assert len(runs) == 1, places.get("raised")
        (run,) = runs
        events = [str(event) for event in instance.all_logs(run.run_id)]
    places |= {"events": "\n".join(events), "run": repr(run)}
    shown = capfd.readouterr()
    places |= {"stdout": shown.out, "stderr": shown.err}
    for path in folder.rglob("*"):
        if path.is_file() and path not in (source, settings_folder / "secrets.toml"):
            with contextlib.suppress(FileNotFoundError):
                places[str(path)] = path.read_bytes().decode("utf-8", "replace")
    said = places["events"] + places.get("raised", "")
    assert "***" in said or "its text is left out" in said
    leaks = [
        (place, kind, form)
        for place, text in places.items()
        for kind, secret in zip(("filed", "declared", "environment"), values, strict=True)
        for form in forms(secret.strip())
        if form in text
    ]
    assert leaks == []
