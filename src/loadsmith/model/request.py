"""RunRequest: what this one run of a load is to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from loadsmith.model.arguments import RunArguments


@dataclass(frozen=True, kw_only=True)
class Window:
    """The half-open range of time that a run loads: `start` is in it, `end` is not.

    Both have a time zone.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs times with a time zone")
        # Python compares the clocks of one zone, which an hour shows twice in autumn.
        if self.end.astimezone(timezone.utc) <= self.start.astimezone(timezone.utc):
            raise ValueError(f"a window ends after it starts, not {self.start} to {self.end}")

    @property
    def is_utc(self) -> bool:
        """Whether the clocks of the window's time zone show UTC all year."""
        zone = self.start.tzinfo
        key = getattr(zone, "key", getattr(zone, "name", None))
        if key is not None:
            return key in ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
        return not self.start.utcoffset() and not self.end.utcoffset()


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What one run asks of a load.

    Attributes:
        run_id: Dagster's run, for logs and for the recovery of what a dead run left behind.
        root_run_id: The run that this one is a re-execution of, or `run_id` itself.
        attempt: How often Dagster has retried the step in this run.
        outcome_of: Tells how this step ended in an earlier run, by its id: `succeeded`, `failed`,
            `running` or `unknown`.
        is_canceled: Tells whether Dagster was asked to cancel this run; a signal may come later.
        has_ended: Tells whether Dagster counts this very run as ended; a queue may deliver a step
            after that.
        resources: Resources to load, by name; None for all of the definition.
        tables: Tables of `resources` that are selected as assets; None for all.
        partition_key: The partition, or None. Partitions without a window keep a state each.
        partition_keys: All partitions of the run, where it loads several.
        has_all_partitions: Whether these are all partitions that there are; only known where the
            run asks for a `refresh`.
        window: The time window, where the partitions are windows or the launchpad gave one.
        window_is_chosen: Whether the window is not that of the partitions.
        variables: Values for the `{{variables}}` in the definition, by dotted name.
        source: A live source, or a function that makes one, used instead of the definition's.
        pipeline: A live pipeline used instead of the definition's.
        params: Arguments of the run, which win over the definition's options.
        arguments_hold_window: Whether the source is called with the window or the partition.
        log: Takes a line of progress, such as the wait for a lock. Called from any thread.
        warn: Takes a line that a person should read.
        cancelled: Tells whether the run was cancelled; asked between pages and steps.
        show_live: Takes the live source, dlt's load info and the live pipeline of a run that has
            loaded, for code of users that knows dlt.
    """

    run_id: str = "local"
    root_run_id: str | None = None
    attempt: int = 0
    outcome_of: Callable[[str], str] = lambda _run_id: "unknown"
    has_ended: Callable[[], bool] = lambda: False
    is_canceled: Callable[[], bool] = lambda: False
    resources: tuple[str, ...] | None = None
    tables: tuple[str, ...] | None = None
    partition_key: str | None = None
    partition_keys: tuple[str, ...] = ()
    has_all_partitions: bool = False
    window: Window | None = None
    window_is_chosen: bool = False
    # A request that is printed shows no secret, and the variables hold the whole environment.
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source: Any = field(default=None, repr=False)
    pipeline: Any = field(default=None, repr=False)
    params: RunArguments = field(default_factory=RunArguments, repr=False)
    arguments_hold_window: bool = False
    log: Callable[[str], None] = lambda _line: None
    warn: Callable[[str], None] = lambda _line: None
    cancelled: Callable[[], bool] = lambda: False
    show_live: Callable[[Any, Any, Any], None] = lambda *_live: None

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", RunArguments.of(self.params))
