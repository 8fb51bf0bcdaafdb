"""The whole project for Dagster: `dagster dev -f definitions.py`."""

from pathlib import Path

from loadsmith import build_definitions

defs = build_definitions(Path(__file__).parent / "odp_config")
