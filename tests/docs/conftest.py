"""Pages as projects: files are written, commands are run, outputs are compared, from top to bottom.

A block with `title="a/file"` is that file. A block of `sh` is run, line by line, in the folder of
the project; with `title="in another terminal"` it stays there until the page ends. A block
`text title="output"` says what the commands before it write, `text title="error"` what they fail
with; `...` stands for anything, and so does the number of spaces.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tomlkit
from click.testing import CliRunner

from loadsmith.cli import cli
from loadsmith.testing.watching import load_definitions

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILES = ("yaml", "python", "toml", "json", "sql", "csv")
SHELL = ("sh", "bash", "console")
ELSEWHERE = "in another terminal"
#: Pages write this port; the test takes one that is free.
PORT = "8642"
#: The address on the page, and the server of the tests; a page gets a database of its own there.
POSTGRES = "postgresql://loader:password@db.example.com:5432/warehouse"
SERVER = "postgresql://postgres:x@127.0.0.1:5432/"

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    language: str
    title: str | None
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 1)
        for match in _BLOCK.finditer(text)
    ]


@dataclass
class Walk:
    """One walk through a page, as a reader would do it by hand."""

    page: Path
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    port: str
    postgres: str = POSTGRES
    output: str = ""
    code: int = 0
    background: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self) -> None:
        blocks = blocks_of(self.page)
        for index, block in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            try:
                self._do(block, following)
            except AssertionError as error:
                raise AssertionError(f"{self.page.name}:{block.line}: {error}") from None

    def _do(self, block: Block, following: Block | None) -> None:
        text = block.text.replace(PORT, self.port).replace(POSTGRES, self.postgres)
        if block.language in FILES and block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif block.language in SHELL and block.title == ELSEWHERE:
            self._start(text)
        elif block.language in SHELL:
            self.output, self.code = "", 0
            for line in _lines(text):
                self._run(line)
            is_error = following is not None and following.title == "error"
            if not is_error:
                assert self.code == 0, f"exit code {self.code}:\n{self.output}"
        elif block.title == "error":
            assert self.code != 0, f"the commands before it do not fail:\n{self.output}"
            self._compare(text)
        elif block.title == "output":
            self._compare(text)

    def _compare(self, text: str) -> None:
        found = [" ".join(line.split()) for line in self.output.splitlines()]
        for line in filter(str.strip, text.splitlines()):
            parts = [re.escape(" ".join(part.split())) for part in line.split("...")]
            pattern = r"\s*.*\s*".join(parts)
            assert any(re.search(pattern, candidate) for candidate in found), (
                f"{line.strip()!r} is not in the output:\n{self.output}"
            )

    def _run(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        match words:
            case ["export", setting]:
                name, value = setting.split("=", 1)
                self.monkeypatch.setenv(name, value.replace("$PWD", str(self.folder)))
            case ["unset", name]:
                self.monkeypatch.delenv(name)
            case ["cd", path]:
                self.folder = self.folder / path
            case ["pip", "install", *wanted]:
                _check_extras(wanted)
            case ["loadsmith", *arguments]:
                self.monkeypatch.chdir(self.folder)
                done = CliRunner().invoke(cli, arguments)
                self.output += done.output
                self.code = done.exit_code
                if done.exception and not isinstance(done.exception, SystemExit):
                    raise AssertionError(f"{line}\n{done.exception!r}\n{done.output}")
            case ["dagster", "dev", "-f", path]:
                self.monkeypatch.chdir(self.folder)
                self.monkeypatch.syspath_prepend(str(self.folder))
                load_definitions(f"{Path(path).stem}:defs").resolve_asset_graph()
            case ["pytest", *arguments]:
                self._subprocess([sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments])
            case ["python", *arguments]:
                self._subprocess([sys.executable, *arguments])
            case _:
                self._subprocess(["bash", "-ec", line])

    def _subprocess(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )
        self.output += done.stdout + done.stderr
        self.code = done.returncode

    def _start(self, text: str) -> None:
        for line in _lines(text):
            words = shlex.split(line)
            assert words[0] == "python", line
            process = subprocess.Popen(
                [sys.executable, *words[1:]],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.background.append(process)
            _wait_for(int(self.port), process)


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Walk]]:
    """Walk through the page of that name, and give the walk that has ended."""
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with contextlib.ExitStack() as stack:

        def begin(page: str) -> Walk:
            folder = tmp_path / "project"
            folder.mkdir()
            found = Walk(DOCS / page, folder, monkeypatch, _free_port())
            stack.callback(_end, found.background)
            if POSTGRES in found.page.read_text(encoding="utf-8"):
                found.postgres = stack.enter_context(_postgres_database())
            found.run()
            return found

        yield begin


def _end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextlib.contextmanager
def _postgres_database() -> Iterator[str]:
    """Make a database of its own; without a server the test is skipped, or fails if it must not."""
    import psycopg2

    try:
        connection = psycopg2.connect(f"{SERVER}postgres", connect_timeout=3)
    except psycopg2.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    connection.autocommit = True
    name = f"docs_{uuid.uuid4().hex[:10]}"
    try:
        connection.cursor().execute(f"CREATE DATABASE {name}")
        yield f"{SERVER}{name}"
    finally:
        connection.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.close()


def _lines(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def _check_extras(wanted: list[str]) -> None:
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in wanted:
        match = re.match(r"loadsmith\[([\w,]+)\]", requirement)
        for extra in match[1].split(",") if match else ():
            assert extra in project["optional-dependencies"], f"there is no extra {extra!r}"


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the server ended"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")
