import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadsmith.cli import cli

COMMANDS = (
    "add",
    "check",
    "clean",
    "compare-dagster-dlt",
    "dbt-sources",
    "dev",
    "discover",
    "info",
    "init",
    "json-schema",
    "list",
    "run",
    "schema",
    "show",
    "state",
)
MAIN = "from loadsmith.cli import main; main()"


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_help_imports_neither_dlt_nor_dagster():
    code = (
        "import sys\nfrom loadsmith.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print([name for name in ('dlt', 'dagster', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_nobody_foresaw_is_one_paragraph_without_debug(shop):
    Path("dlt_project/shop/source.py").write_text("raise SystemError('broken')")
    process = start("schema", "shop/orders", "--debug")
    _, errors = process.communicate()
    quiet = start("schema", "shop/orders")
    _, said = quiet.communicate()
    assert process.returncode == quiet.returncode == 1
    assert "Traceback" in errors
    assert "Traceback" not in said
    assert said.strip()


def test_ctrl_c_ends_a_run_within_seconds_and_the_next_one_succeeds(shop):
    source = Path("dlt_project/shop/source.py")
    before = source.read_text()
    source.write_text(
        before.replace(
            "        for number in range(count):",
            "        import pathlib, time\n"
            "        pathlib.Path('started').touch()\n"
            "        for number in range(600):\n"
            "            time.sleep(0.1)",
        )
    )
    process = start("run", "shop/orders")
    deadline = time.monotonic() + 60
    while not Path("started").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - sent < 10
    assert process.returncode == 130, errors
    assert "Stopped." in errors
    assert "Traceback" not in errors
    source.write_text(before)
    again = start("run", "shop/orders")
    _, errors = again.communicate()
    assert again.returncode == 0, errors


@pytest.mark.parametrize("command", [*COMMANDS, "state show", "state reset"])
def test_every_command_has_help_with_an_example(call, command):
    done = call(*command.split(), "--help")
    assert done.exit_code == 0
    assert f"  loadsmith {command}" in done.stdout


def test_the_commands_are_all_there():
    assert tuple(cli.list_commands(None)) == COMMANDS


def test_a_misspelled_command_gets_close_matches(call):
    done = call("lst")
    assert done.exit_code == 2
    assert "Did you mean 'list'?" in done.stderr


@pytest.mark.parametrize("kind", ["workflow", "config", "component"])
def test_json_schemas_describe_every_field(call, tmp_path, kind):
    import json

    target = tmp_path / "deep" / "schema.json"
    assert call("json-schema", kind, "-o", str(target)).exit_code == 0
    schema = json.loads(target.read_text())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["properties"]
