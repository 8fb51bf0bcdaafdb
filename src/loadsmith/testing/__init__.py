"""Tests for one's own project in five lines, and awkward sources to try things on.

    from loadsmith.testing import build_project_tests

    TestProject = build_project_tests("odp_config")

These need pytest.
"""

from loadsmith.testing.definitions import build_definitions_tests
from loadsmith.testing.project import build_project_tests

__all__ = ["build_definitions_tests", "build_project_tests"]
