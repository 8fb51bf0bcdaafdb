import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_every_command_of_the_page_runs_in_its_order(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    commands = [
        line
        for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) >= 12
    for command in commands:
        name, *arguments = shlex.split(command)
        if name == "cd":
            monkeypatch.chdir(arguments[0])
            continue
        assert name == "loadsmith"
        done = call(*arguments)
        assert done.exit_code == 0, f"{command}: {done.output}"


def test_every_command_and_choice_is_on_the_page():
    from loadsmith.cli import cli
    from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES

    text = PAGE.read_text()
    for name in cli.list_commands(None):
        assert f"\n## {name}\n" in text
    for name in (*LAYOUTS, *SOURCES, *DESTINATIONS):
        assert f"`{name}`" in text


def test_the_shell_can_complete_commands():
    done = subprocess.run(
        [sys.executable, "-c", "from loadsmith.cli import main; main()"],
        env={
            **os.environ,
            "_LOADSMITH_COMPLETE": "bash_complete",
            "COMP_WORDS": "loadsmith sch",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
    )
    assert "plain,schema" in done.stdout
