"""Pages as projects: files are written, commands are run, outputs are compared, from top to bottom.

A block with `title="a/file"` is that file. A block of `sh` is run, line by line, in the folder of
the project; with `title="in another terminal"` it stays there until the page ends, and with
`title="in a checkout"` it is run where the sources of loadsmith are. A block `text title="output"`
says what the commands before it write, `text title="error"` what they fail with; `...` stands for
anything, and so does the number of spaces. What is not run is in `not_run.toml`, with the reason.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tomlkit
from click.testing import CliRunner

from loadsmith.cli import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILES = ("yaml", "python", "toml", "json", "sql", "csv")
SHELL = ("sh", "bash", "console")
ELSEWHERE = "in another terminal"
CHECKOUT = "in a checkout"
#: Pages write this port; the test takes one that is free.
PORT = "8642"
#: The address on the page, and the server of the tests; a page gets a database of its own there.
POSTGRES = "postgresql://loader:password@db.example.com:5432/warehouse"
SERVER = "postgresql://postgres:x@127.0.0.1:5432/"

NOT_RUN = tomlkit.parse((Path(__file__).parent / "not_run.toml").read_text(encoding="utf-8"))

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
        elif block.language in SHELL and not self._is_left_out(text):
            self.output, self.code = "", 0
            project = self.folder
            if block.title == CHECKOUT:
                self.folder = ROOT
            is_error = following is not None and following.title == "error"
            for line in _lines(text):
                self._run(line)
                assert is_error or self.code == 0, f"{line}: code {self.code}:\n{self.output}"
            if block.title == CHECKOUT:
                self.folder = project
        elif block.title == "error":
            assert self.code != 0, f"the commands before it do not fail:\n{self.output}"
            self._compare(text)
        elif block.title == "output":
            self._compare(text)

    def _is_left_out(self, text: str) -> bool:
        """Tell whether a line of the block is in `not_run.toml`."""
        left_out = NOT_RUN.get(self.page.relative_to(DOCS).as_posix(), {})
        return any(line in left_out for line in text.splitlines())

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
                # Without an index: what the page asks for is what this environment has.
                options = ["--no-index", "--dry-run", "--quiet", "--disable-pip-version-check"]
                self._subprocess([sys.executable, "-m", "pip", "install", *options, *wanted])
            case ["loadsmith", "dev"]:
                main = "from loadsmith.cli import main; main()"
                self._open_page([sys.executable, "-c", main, "dev", "--port"])
            case ["loadsmith", *arguments]:
                self.monkeypatch.chdir(self.folder)
                done = CliRunner().invoke(cli, arguments)
                self.output += done.output
                self.code = done.exit_code
                if done.exception and not isinstance(done.exception, SystemExit):
                    raise AssertionError(f"{line}\n{done.exception!r}\n{done.output}")
            case ["dagster", "dev", *arguments]:
                self._open_page([sys.executable, "-m", "dagster", "dev", *arguments, "-p"])
            case ["pytest", *arguments]:
                self._subprocess([sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments])
            case ["python", *arguments]:
                self._subprocess([sys.executable, *arguments])
            case _:
                self._subprocess(["bash", "-ec", line])

    def _subprocess(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=300
        )
        self.output += done.stdout + done.stderr
        self.code = done.returncode

    def _open_page(self, command: list[str]) -> None:
        """Start Dagster's page on a port, wait until it shows assets, and end it."""
        port = _free_port()
        command = [*command, port]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, text=True)
            try:
                found = _assets_on_page(port, process)
            finally:
                _end([process])
                log.seek(0)
                self.output += log.read()
        assert found, f"Dagster's page shows no assets:\n{self.output}"

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
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
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


@pytest.fixture
def tutorial() -> tuple[str, list[Block]]:
    """The text of the tutorial and its blocks."""
    page = DOCS / "tutorial.md"
    return page.read_text(encoding="utf-8"), blocks_of(page)


def _end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


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


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def _assets_on_page(port: str, process: "subprocess.Popen[str]") -> list[object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": "{assetNodes {id}}"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                nodes: list[object] = json.load(answer)["data"]["assetNodes"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
            continue
        if nodes:
            return nodes
    return []


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the server ended"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")
