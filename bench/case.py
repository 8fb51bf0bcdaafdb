"""Cases, their variants and what they promise; knows nothing but the standard library."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

Measures = Mapping[str, float]

LOADSMITH = "loadsmith"
LOADSMITH_ROWS = "loadsmith, normalizer: dlt"
DLT = "dlt"
DLT_FASTEST = "dlt, fastest format"
DAGSTER = "empty Dagster run"
DAGSTER_DLT = "dagster-dlt"

NAMES = (
    "nested_duckdb",
    "nested_postgres",
    "resources_t",
    "project_3000",
    "metadata_3000",
    "definitions_300x3000",
    "import_time",
    "sql_1m_rows",
    "memory_10x",
    "thousandth_run",
)

POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres:x@127.0.0.1:5432/postgres")


@dataclass(frozen=True)
class Variant:
    """One way to do the work of a case.

    Attributes:
        size: The number that the case varies.
    """

    tool: str
    size: int | None = None

    @property
    def name(self) -> str:
        """Name in the table and on the command line of a sample."""
        return self.tool if self.size is None else f"{self.tool}, {self.size:,}"

    @property
    def is_peer(self) -> bool:
        """Whether it runs in the environment of the peer."""
        return self.tool == DAGSTER_DLT


@dataclass(frozen=True)
class Promise:
    """`ours` costs at most `at_most` times the sum of `floor`, plus `extra`."""

    text: str
    ours: Variant
    floor: Sequence[Variant]
    at_most: float
    measure: str = "seconds"
    floor_measure: str | None = None
    extra: float = 0.0


def growth(
    tools: Iterable[str], sizes: tuple[int, int], text: str, at_most: float, measure: str
) -> list[Promise]:
    """Return for each tool that the larger size costs at most so many times the smaller one."""
    small, large = sizes
    return [
        Promise(f"{text} ({tool})", Variant(tool, large), [Variant(tool, small)], at_most, measure)
        for tool in tools
    ]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        run: Does the work once in an empty folder; returns `seconds` and more measures. What it
            imports is not counted, unless the case times the process itself.
        more: Measures that are shown as well, and what their column is called.
    """

    title: str
    variants: Sequence[Variant]
    run: Callable[[Variant, Path], Measures]
    promises: Sequence[Promise] = field(default_factory=tuple)
    more: Mapping[str, str] = field(default_factory=dict)
    needs_postgres: bool = False


def load_case(name: str) -> Case:
    """Return the case of a module in `bench.cases`; importing it imports no tool."""
    case: Any = import_module(f"bench.cases.{name}").CASE
    assert isinstance(case, Case)
    return case


def has_postgres() -> bool:
    """Tell whether somebody listens where `POSTGRES` points."""
    host, _, port = POSTGRES.rsplit("@", 1)[-1].split("/")[0].partition(":")
    try:
        socket.create_connection((host, int(port or 5432)), timeout=2).close()
    except OSError:
        return False
    return True
