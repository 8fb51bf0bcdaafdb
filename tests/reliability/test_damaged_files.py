"""Thousands of damaged project files end in definitions or in an error with file and line."""

import json
import random
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from damaging import damage

from loadsmith import build_definitions
from loadsmith.cli import cli
from loadsmith.config.files import read_project
from loadsmith.config.project_files import ProjectFiles
from loadsmith.errors import ConfigError

SEED = 20_260
DAMAGES = 3_000
BUILT_EVERY = 50
MAX_SECONDS = 2.0
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Target:
    """A file of a project that is damaged, and the folder that is read then."""

    config: Path
    file: Path
    text: str

    def name(self) -> str:
        return self.file.relative_to(self.config).as_posix()


@pytest.fixture
def targets(tmp_path: Path) -> list[Target]:
    """The files of the examples and of a new project, as YAML and as JSON."""
    ignored = shutil.ignore_patterns("__pycache__", "data", "*.duckdb*", ".dlt", "*.db")
    for name in ("demo", "github"):
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored)
    made = CliRunner().invoke(cli, ["init", str(tmp_path / "new"), "--yes"])
    assert made.exit_code == 0, made.output
    found = []
    for name in ("demo", "github", "new"):
        config = tmp_path / name / "odp_config"
        assert isinstance(read_project(config), ProjectFiles)
        for file in sorted(config.rglob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            found.append(Target(config, file, text))
            tree = json.dumps(yaml.safe_load(text), default=str, indent=2)
            found.append(Target(config, file.with_suffix(".json"), tree))
    return found


def assert_is_told(error: ConfigError, target: Target, raw: bytes) -> None:
    """All problems name a file of the project and a line that it has."""
    assert error.problems
    breaks = re.findall("\r\n|[\n\r\x85\u2028\u2029]", raw.decode("utf-8", "replace"))
    for problem in error.problems:
        assert problem.message
        assert len(str(problem)) < 2_000
        if problem.file == target.name():
            assert 1 <= problem.line <= len(breaks) + 1, problem
            assert problem.column >= 1, problem
        else:
            # What another file refers to may have been in the damaged one.
            assert (target.config / problem.file).is_file(), problem
            assert problem.line >= 1, problem


def test_thousands_of_damaged_files_end_in_a_project_or_in_file_and_line(targets):
    read, refused = damaged(targets, DAMAGES, built_every=BUILT_EVERY)
    # Damages that only ever destroy, or never do, would show nothing.
    assert min(read, refused) > DAMAGES // 10


def test_damaged_settings_beside_a_query_end_in_assets_or_in_file_and_line(targets):
    # The query asks for the resource that the damaged file defines.
    beside = [
        target
        for target in targets
        if target.config.parent.name == "demo" and target.file.stem == "dagster_config"
    ]
    assert "duckdb_query" in "".join(
        file.read_text("utf-8") for file in beside[0].config.rglob("*.yaml")
    )
    read, refused = damaged(beside, 150, built_every=1)
    assert min(read, refused) > 10


def damaged(targets: list[Target], damages: int, *, built_every: int) -> tuple[int, int]:
    """Damage files; return how often they were read, and how often refused in our own words."""
    print(f"seed {SEED}")  # noqa: T201 - shown with a failure
    random_ = random.Random(SEED)
    read = refused = built = 0
    failures = []
    for number in range(damages):
        target = random_.choice(targets)
        how, raw = damage(random_, target.text)
        original = target.file.with_suffix(".yaml")
        aside = original.with_suffix(".aside")
        original.rename(aside)
        target.file.write_bytes(raw)
        started = time.process_time()
        try:
            read_project(target.config)
            read += 1
            if read % built_every == 0:
                built += 1
                started = time.process_time()
                build_definitions(target.config)
        except ConfigError as error:
            refused += 1
            try:
                assert_is_told(error, target, raw)
            except AssertionError as wrong:
                failures.append(f"{number} {how} {target.name()}: told as {wrong}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how} {target.name()}: {error!r}")
        seconds = time.process_time() - started
        if seconds > MAX_SECONDS:
            failures.append(f"{number} {how} {target.name()}: took {seconds:.1f} s")
        target.file.unlink()
        aside.rename(original)
    print(f"{read} read, of which {built} built; {refused} refused")  # noqa: T201 - the figures of the test
    assert not failures, f"seed {SEED}, {len(failures)}:\n" + "\n".join(failures[:20])
    return read, refused
