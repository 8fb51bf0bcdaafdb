"""What a test waits for, and what other processes are at."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(
    condition: Callable[[], Any], what: str = "what is waited for", seconds: float = 60
) -> None:
    """Wait until a condition is true, for so many seconds at most."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} was not seen in {seconds:.0f} s"
        # Processes, files and pages that tests wait for tell nobody when they get somewhere.
        time.sleep(0.02)


def state_of(pid: int | None) -> str | None:
    """Return the letter that Linux has for the state of a process; None where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    return state_of(pid) not in (None, "Z")


def is_stopped(pid: int | None) -> bool:
    """Tell whether a process was stopped and may be told to go on."""
    return state_of(pid) == "T"
