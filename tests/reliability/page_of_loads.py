"""What Dagster's webserver loads in the tests of its buttons."""

from dagsters_page import make_definitions

defs = make_definitions()
