"""Build definitions in a separate process and report every connection and every write."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": "makes the folder",
    "os.remove": "removes",
    "os.rename": "renames",
    "os.rmdir": "removes the folder",
    "shutil.rmtree": "removes the folder",
}
_CALLS = {"socket.connect": "connects to", "socket.getaddrinfo": "asks for the address of"}
_SECRETS = "secrets.toml"


@dataclass(frozen=True)
class Touch:
    """A forbidden action of definitions.

    Attributes:
        kind: `network` or `disk`.
        text: The action and its object.
    """

    kind: str
    text: str


def watch_definitions(target: str, *, folder: str | None = None) -> list[Touch]:
    """Build definitions in a separate process without secrets, and return their touches.

    That process cannot open any `secrets.toml`. Its temporary folder is not watched.

    Args:
        target: The folder of a project in YAML, or `my_module:defs`.
        folder: The working directory; that of this process if None.

    Raises:
        AssertionError: The definitions could not be built; it holds their error.
    """
    with tempfile.TemporaryDirectory(prefix="loadsmith-testing-") as temporary:
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of this package
            [sys.executable, "-B", "-c", f"from {__name__} import main; main()", target],
            cwd=folder,
            env={**os.environ, "TMPDIR": temporary},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise AssertionError(done.stderr.strip())
    return [Touch(**touch) for touch in json.loads(done.stdout.splitlines()[-1])]


def check_definitions(target: str) -> None:
    """Refuse definitions that use a network, need a secret or write to the disk.

    Raises:
        AssertionError: They do, or cannot be built; the message lists their actions.
    """
    touches = watch_definitions(target)
    lines = "\n".join(f"- {touch.text}" for touch in touches)
    assert not touches, f"{target}: building the definitions does more than look.\n{lines}"


def load_definitions(target: str) -> Any:
    """Return the definitions that `target` names: a folder of YAML files, or `my_module:defs`."""
    module, colon, attribute = target.partition(":")
    if Path(target).is_dir() or not colon:
        from loadsmith.project import build_definitions

        return build_definitions(target)
    if "" not in sys.path:
        sys.path.insert(0, "")
    definitions = getattr(import_module(module), attribute)
    return definitions() if callable(definitions) else definitions


@contextmanager
def _watching() -> Iterator[list[Touch]]:
    """Collect touches while the block runs; an audit hook can be silenced, but not removed.

    Raises:
        FileNotFoundError: In the block, where a `secrets.toml` is opened.
    """
    touches: list[Touch] = []
    is_on = True
    # The first call writes a file, which the hook must not see.
    temporary = tempfile.gettempdir()

    def hook(event: str, arguments: Sequence[Any]) -> None:
        if not is_on:
            return
        if event == "open" and str(arguments[0]).endswith(_SECRETS):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(arguments[0]))
        touch = _touch_of(event, arguments)
        if touch is not None and not (touch.kind == "disk" and temporary in touch.text):
            touches.append(touch)

    sys.addaudithook(hook)
    try:
        yield touches
    finally:
        is_on = False


def _touch_of(event: str, arguments: Sequence[Any]) -> Touch | None:
    if event in _CALLS:
        # A socket's first argument is the socket itself.
        address = arguments[1] if event == "socket.connect" else arguments[0]
        is_network = event != "socket.connect" or isinstance(address, tuple)
        return Touch("network", f"{_CALLS[event]} {address!r}") if is_network else None
    if event in _CHANGES:
        # A path relative to a descriptor is part of a tree that is reported as a whole.
        is_whole = arguments[-1] in (-1, None)
        return _disk(_CHANGES[event], arguments[0]) if is_whole else None
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return None
    name, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
    writes = any(char in str(mode or "") for char in "wax+") or (flags or 0) & _WRITING_FLAGS
    return _disk("writes", name) if writes else None


def _disk(verb: str, path: Any) -> Touch | None:
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    is_nothing = "__pycache__" in name or name.startswith(os.devnull)
    return None if is_nothing else Touch("disk", f"{verb} {name}")


def main() -> None:
    """Print as JSON what the definitions touch that the first argument names."""
    from loadsmith.errors import LoadsmithError

    with _watching() as touches:
        try:
            load_definitions(sys.argv[1]).resolve_asset_graph()
        except LoadsmithError as error:
            sys.exit(str(error))
    json.dump([asdict(touch) for touch in dict.fromkeys(touches)], sys.stdout)
