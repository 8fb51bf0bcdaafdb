"""`build_project_tests`: a class of pytest tests for a project in YAML."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from loadsmith.config.files import read_project
from loadsmith.errors import LoadsmithError
from loadsmith.project import build_definitions
from loadsmith.testing.scratch import TableCount, dlt_assets_of, load_twice
from loadsmith.testing.watching import check_definitions

_ONCE = ("merge", "replace")
"""Dispositions that promise the same rows after a second load of the same data."""


def build_project_tests(
    path: str | os.PathLike[str],
    *,
    runs_sources: bool = False,
    limit: int = 100,
    partition: str | None = None,
) -> type[Any]:
    """Make a class of tests for the project in YAML at `path`.

    Assign it to a name that begins with `Test` in a module of tests:

        TestProject = build_project_tests("odp_config")

    Without `runs_sources` the tests need neither network nor secret. Subclass the result to add
    tests, or set one to None to leave it out.

    Args:
        path: The folder with `dagster_config.yaml` and `workflows/`; from the working directory
            where it is relative.
        runs_sources: Whether a little of each source is loaded into a temporary DuckDB file, to
            test that schema files are up to date, and that a second load of merged or replaced
            tables duplicates no row. Needs the secrets and networks of the sources.
        limit: About so many rows of each resource are loaded.
        partition: The partition to load; the last one if None.
    """
    folder = Path(path).absolute()
    if not runs_sources:
        return type("ProjectTests", (ProjectTests,), {"folder": folder})

    import pytest

    loads, with_schema_file = _keys_of(folder)
    members: dict[str, Any] = {"folder": folder, "limit": limit, "partition": partition}

    @pytest.mark.parametrize("asset_key", with_schema_file)
    def test_schema_file_is_up_to_date(self: ProjectTests, asset_key: str) -> None:
        self.check_schema_file(asset_key)

    @pytest.mark.parametrize("asset_key", loads)
    def test_loading_twice_doubles_nothing(self: ProjectTests, asset_key: str) -> None:
        self.check_second_load(asset_key)

    members["test_schema_file_is_up_to_date"] = test_schema_file_is_up_to_date
    members["test_loading_twice_doubles_nothing"] = test_loading_twice_doubles_nothing
    return type("ProjectTests", (ProjectTests,), members)


class ProjectTests:
    """Tests of a project in YAML; `build_project_tests` makes a subclass."""

    folder: Path
    limit: int = 100
    partition: str | None = None

    def test_files_have_no_mistakes(self) -> None:
        """All mistakes of all files are in the message, each with its line."""
        try:
            build_definitions(self.folder)
        except LoadsmithError as error:
            raise AssertionError(str(error)) from None

    def test_definitions_need_neither_network_nor_secret_nor_disk(self) -> None:
        """A separate process builds them and reports every connection and write."""
        check_definitions(str(self.folder))

    def test_dagster_takes_all_definitions(self) -> None:
        """Jobs, schedules, checks and assets fit together, and no two have one name."""
        dg.Definitions.validate_loadable(build_definitions(self.folder))

    def test_every_asset_has_a_key_of_its_own(self) -> None:
        """No two entries or tables have the same key, not even where case is ignored."""
        graph = build_definitions(self.folder).resolve_asset_graph()
        check_keys(key.to_user_string() for key in graph.materializable_asset_keys)

    def check_schema_file(self, asset_key: str) -> None:
        """Compare what a sample of the source yields with the schema file of a dlt asset.

        Raises:
            AssertionError: The file would change; the message says how.
        """
        from click.testing import CliRunner

        from loadsmith.cli import cli

        arguments = ["schema", asset_key, str(self.folder), "--check", "--limit", str(self.limit)]
        if self.partition:
            arguments += ["--partition", self.partition]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output

    def check_second_load(self, asset_key: str) -> None:
        """Load a dlt asset twice into a scratch DuckDB and compare the rows.

        Raises:
            AssertionError: A table that is merged or replaced has other rows after the second, or
                a run reported other rows than there are.
        """
        files = read_project(self.folder)
        try:
            counts = load_twice(
                dlt_assets_of(files)[asset_key], files, limit=self.limit, partition=self.partition
            )
        except LoadsmithError as error:
            raise AssertionError(str(error)) from None
        changed = [count for count in counts if _is_changed(count)]
        assert not changed, "\n".join(
            f"{count.name}: {count.first} rows after the first load and {count.second} after the "
            f"second, with write disposition {count.write_disposition}. Is there a primary_key, "
            "and does the source give the same rows for the same arguments?"
            for count in changed
        )
        miscounted = [
            f"{count.name}: run {number} reported {reported} rows and left {added} in the "
            f"destination, with write disposition {count.write_disposition}."
            for count in counts
            for number, reported, added in _miscounted(count)
        ]
        assert not miscounted, "\n".join(miscounted)


def check_keys(keys: Any) -> None:
    """Refuse keys that are the same where case is ignored, as many destinations do.

    Raises:
        AssertionError: Two are the same.
    """
    seen: dict[str, str] = {}
    for key in keys:
        other = seen.setdefault(key.lower(), key)
        assert other == key, f"the asset keys '{other}' and '{key}' differ in case alone"


def _is_changed(count: TableCount) -> bool:
    return count.write_disposition in _ONCE and count.first != count.second


def _miscounted(count: TableCount) -> list[tuple[int, int, int]]:
    """Return number, reported rows and rows left of each run where these are not the same.

    Merging may leave fewer rows than were loaded, never more.
    """
    # A run replaces the rows of a replaced table and adds rows to the others.
    before = 0 if count.write_disposition == "replace" else count.first
    runs = ((1, count.reported[0], count.first), (2, count.reported[1], count.second - before))
    return [
        (number, reported, added)
        for number, reported, added in runs
        if reported is not None
        and (added > reported if count.write_disposition == "merge" else added != reported)
    ]


def _keys_of(folder: Path) -> tuple[list[str], list[str]]:
    """Return the keys of all loads, and of those with a schema file.

    Files with mistakes give no keys; another test reports the mistakes.
    """
    try:
        assets = dlt_assets_of(read_project(folder))
    except LoadsmithError:
        return [], []
    with_file = [key for key, entry in assets.items() if entry.value.params.schema_file_path]
    return list(assets), with_file
