"""Log the progress of a step, from dlt's counters."""

import time
from collections.abc import Callable
from typing import Any

from dlt.common.runtime.collector_base import Collector

#: Seconds until the first line about a step. Each next one takes twice as long to come ...
FIRST_REPORT_SECONDS = 1.0

#: ... up to this many seconds.
REPORT_SECONDS = 10.0


class LogProgress(Collector):
    """Logs the progress of a step, every ten seconds at last, and stops a cancelled run."""

    def __init__(self, log: Callable[[str], None], cancelled: Callable[[], bool]) -> None:
        self._log = log
        self._cancelled = cancelled
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        # Pages and rows by table of the last extract. An error message shows them afterwards.
        self.pages: dict[str, tuple[int, int]] = {}
        self._reported = time.monotonic()
        self._pause = FIRST_REPORT_SECONDS
        self.step = ""

    def update(
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,
        message: str | None = None,
        label: str | None = None,
    ) -> None:
        """Count, and log a line if the last one is old enough."""
        if self._cancelled():
            raise InterruptedError("the run was cancelled")
        key = f"{name} {label}" if label else name
        self._counts[key] = self._counts.get(key, 0) + inc
        if self.step.startswith("extract") and name != "Resources":
            pages, rows = self.pages.get(name, (0, 0))
            self.pages[name] = (pages + 1, rows + inc)
        if total is not None:
            self._totals[key] = total
        if inc_total:
            self._totals[key] = self._totals.get(key, 0) + inc_total
        now = time.monotonic()
        if now - self._reported >= self._pause:
            self._reported = now
            self._pause = min(2 * self._pause, REPORT_SECONDS)
            self._log(f"{self.step}: {self._summary()}")

    def _summary(self) -> str:
        shown = [
            f"{key} {count:,}" + (f" of {self._totals[key]:,}" if key in self._totals else "")
            for key, count in sorted(self._counts.items(), key=lambda item: -item[1])
        ]
        return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")

    def _start(self, step: str) -> None:
        self.step = step.lower()
        self._counts, self._totals = {}, {}
        self._reported, self._pause = time.monotonic(), FIRST_REPORT_SECONDS
        if self.step.startswith("extract"):
            self.pages = {}

    def _stop(self) -> None:
        self._counts, self._totals = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        # dlt pickles the collector for its normalize workers, which cannot log to Dagster.
        return {"step": self.step}

    def __setstate__(self, state: dict[str, Any]) -> None:
        LogProgress.__init__(self, lambda _line: None, lambda: False)
        self.step = state["step"]
