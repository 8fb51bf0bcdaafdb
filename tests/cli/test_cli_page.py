"""What `docs/cli.md` and the help texts say of the command line; tests/docs walks the page."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_every_command_and_choice_is_on_the_page():
    from loadsmith.cli import cli
    from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES

    text = PAGE.read_text()
    for name in cli.list_commands(None):
        assert f"\n## {name}\n" in text
    for name in (*LAYOUTS, *SOURCES, *DESTINATIONS):
        assert f"`{name}`" in text


#: What the script for a shell calls, and how a shell that has read it is asked.
SHELLS = {
    "bash": (
        "complete -o nosort",
        (
            "COMP_WORDS=(loadsmith sch); COMP_CWORD=1; _loadsmith_completion loadsmith; "
            'echo "${COMPREPLY[@]}"'
        ),
    ),
    "zsh": ("compdef", "whence -w _loadsmith_completion"),
    "fish": ("complete --no-files --command loadsmith", "complete -C'loadsmith sch'"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_line_of_the_page_lets_a_shell_complete(shell):
    """Each line is on the page and gives a script; a shell that is installed is asked, too."""
    (line,) = (
        line
        for block in re.findall(rf"```{shell}\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for line in block.splitlines()
        if "_LOADSMITH_COMPLETE" in line
    )
    calls, question = SHELLS[shell]
    assert calls in said_by("bash", f"_LOADSMITH_COMPLETE={shell}_source loadsmith")
    if shutil.which(shell):
        assert "schema" in said_by(shell, f"{line}\n{question}") or shell == "zsh"


def said_by(shell, text):
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        [shell, "-c", text],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("loadsmith sch", "schema"),
        ("loadsmith run --par", "--partition"),
        ("loadsmith init shop --destination p", "postgres"),
    ],
)
def test_commands_options_and_choices_are_completed(typed, offered):
    done = subprocess.run(
        [sys.executable, "-c", "from loadsmith.cli import main; main()"],
        env={
            **os.environ,
            "_LOADSMITH_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        capture_output=True,
        text=True,
    )
    assert f"plain,{offered}\n" in done.stdout


def test_every_example_of_a_help_text_is_a_command_line_that_is_taken():
    from loadsmith.cli import cli

    parsed = 0
    for name in cli.list_commands(None):
        command = cli.get_command(None, name)
        for line in re.findall(r"^\s+(loadsmith .+)$", command.help, re.MULTILINE):
            _, named, *arguments = shlex.split(line)
            assert named == name
            command.make_context(name, arguments)
            parsed += 1
    assert parsed >= len(cli.list_commands(None))


def test_tables_fit_a_terminal_of_80_columns(tmp_path, monkeypatch, call):
    """A terminal is asked for its width; nothing is cut off, long cells go on in the next line."""
    monkeypatch.chdir(tmp_path)
    call("init", "shop", "--yes")
    for arguments in (["list"], ["list", "--settings"], ["run", "*"], ["check"], ["schema", "*"]):
        shown, code = in_a_terminal(80, [*arguments, "shop"])
        assert code == 0, shown
        assert max(len(line) for line in shown.splitlines()) <= 80, shown
    shown, _ = in_a_terminal(80, ["list", "shop"])
    assert "shop/orders__items" in shown
    for name in ("check", "init", "list", "run", "schema"):
        shown, _ = in_a_terminal(80, [name, "--help"])
        assert max(len(line) for line in shown.splitlines()) <= 80, shown


def in_a_terminal(columns, arguments):
    """Run the command line in a pseudo terminal of that width."""
    main, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", "from loadsmith.cli import main; main()", *arguments],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(side)
    text = b""
    with contextlib.suppress(OSError):  # Linux says EIO where the other side is closed
        while chunk := os.read(main, 65536):
            text += chunk
    os.close(main)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    return plain.replace("\r\n", "\n").replace("\r", "\n"), process.wait(60)
