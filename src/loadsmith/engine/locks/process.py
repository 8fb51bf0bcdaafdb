"""This process in, names of it out; and whether another one has ended or stands still."""

import os
import socket
import uuid
from functools import cache
from pathlib import Path

_UNKNOWN = "unknown"


def this_process() -> str:
    """Return host and number of this process, for messages."""
    return f"{socket.gethostname()}:{os.getpid()}"


def this_execution() -> str:
    """Return a name of this process that no other one has, on any machine and at any time.

    Where the system tells, it says since when the process runs, and among which processes its
    number counts: those of a container are not those of its host.
    """
    return _execution_of(os.getpid())


def is_gone(execution: str) -> bool:
    """Tell whether a process has ended; False where that cannot be known from here."""
    space, _, rest = execution.partition(":")
    number, _, start = rest.partition(":")
    if _UNKNOWN in (space, start) or space != _space() or not number.isdigit():
        return False
    return _fields_of(int(number))[1] != start


def is_stopped(pid: int) -> bool:
    """Tell whether a process among which this one runs was stopped and may be told to go on."""
    return _fields_of(pid)[0] in ("T", "t")


@cache
def _execution_of(pid: int) -> str:
    start = _fields_of(pid)[1]
    if _UNKNOWN in (_space(), start):
        return f"{uuid.uuid4().hex}:{pid}:{_UNKNOWN}"
    return f"{_space()}:{pid}:{start}"


@cache
def _space() -> str:
    """Return a name of the processes that this one can see, from when the machine was started."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return _UNKNOWN


def _fields_of(pid: int) -> tuple[str, str]:
    """Return the state of a process and when it was started, as Linux tells it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    except OSError:
        return "", _UNKNOWN
    # One that has ended and that nobody has waited for does nothing more.
    return (fields[0], fields[19]) if fields[0] != "Z" else ("Z", "")
