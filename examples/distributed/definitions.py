"""The project for Dagster, on every machine at the same path."""

from pathlib import Path

from loadsmith import build_definitions

defs = build_definitions(Path(__file__).parent / "odp_config")
