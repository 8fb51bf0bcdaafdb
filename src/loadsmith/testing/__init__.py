"""Test your own project in five lines, and try things on awkward sources.

    from loadsmith.testing import build_project_tests

    TestProject = build_project_tests("odp_config")

These need pytest.
"""

from loadsmith.testing.definitions import build_definitions_tests
from loadsmith.testing.project import build_project_tests

__all__ = ["build_definitions_tests", "build_project_tests"]
