"""The wheel and the source distribution hold what an installation needs, and install."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import uuid
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import loadsmith

ROOT = Path(__file__).parents[2]

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

#: What somebody may write in `pip install loadsmith[...]`.
EXTRAS = {
    "bigquery",
    "connectorx",
    "dbt",
    "deltalake",
    "dg",
    "distributed",
    "filesystem",
    "mongodb",
    "postgres",
    "pyiceberg",
    "s3",
    "snowflake",
    "sql_database",
    "sqlalchemy",
    "ui",
}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # hatchling itself, for `build` would fetch it into an environment of its own.
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own that borrows our dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
        ).strip()
    )
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*install, "--no-deps", "--no-index", wheel, cwd=folder)
    # Plain paths only: our own editable installation is found by a `.pth` file, and stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("loadsmith/")}
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / "loadsmith").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == expected
    assert "loadsmith/py.typed" in held
    assert any(name.endswith(".tmpl") for name in held)


def test_the_source_distribution_builds_by_itself(distributions, tmp_path):
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert {"pyproject.toml", "README.md", "src", "tests"} <= {
        path.name for path in folder.iterdir()
    }
    assert not (folder / ".venv").exists()
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        tmp_path / "again",
        cwd=folder,
    )
    assert [path.suffix for path in (tmp_path / "again").iterdir()] == [".whl"]


def test_the_wheel_runs_in_an_environment_of_its_own(installed):
    code = "import loadsmith; print(loadsmith.__file__, loadsmith.__version__)"
    where, version = run(installed / "bin" / "python", "-c", code, cwd=installed).split()
    assert Path(where).is_relative_to(installed)
    assert version == loadsmith.__version__
    help_text = run(installed / "bin" / "loadsmith", "--help", cwd=installed)
    assert "init" in help_text


def test_a_project_of_the_installed_package_tests_itself(installed):
    environment = {**os.environ, "PATH": f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [installed / "bin" / "loadsmith", "init", "shop", "--yes", "--source", "python"]
    subprocess.run(command, cwd=installed, env=environment, check=True, capture_output=True)
    checked = run(installed / "bin" / "loadsmith", "check", cwd=installed / "shop")
    assert "problem" not in checked.lower() or "no problem" in checked.lower()


def test_the_metadata_say_what_people_look_for(metadata):
    assert metadata["Name"] == "loadsmith"
    assert metadata["Version"] == loadsmith.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata.get_payload().startswith("# loadsmith")


def test_the_extras_are_those_that_people_install(metadata):
    assert {name.replace("-", "_") for name in metadata.get_all("Provides-Extra")} == EXTRAS


def test_an_extra_of_dlts_that_we_name_is_there(metadata):
    """`dlt[postgress]` would install dlt and nothing else."""
    declared = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    known = {
        match[1]
        for line in requires("dlt") or ()
        for match in re.finditer(r"extra == [\"']([^\"']+)[\"']", line)
    }
    named = {extra for found in declared if found.name == "dlt" for extra in found.extras}
    assert named
    assert {name.replace("_", "-") for name in named} <= {name.replace("_", "-") for name in known}


def test_the_constraints_allow_what_the_package_asks_for(metadata):
    """One line per package and Python: no address, no hash; all that pip needs is a name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines]
    assert all(len(found.specifier) == 1 and not found.url for found in pinned)
    for python in ("3.10", "3.11", "3.12", "3.13"):
        environment = {"python_version": python, "python_full_version": f"{python}.1"}
        versions = {
            found.name.lower(): next(iter(found.specifier)).version
            for found in pinned
            if found.marker is None or found.marker.evaluate(environment)
        }
        for line in metadata.get_all("Requires-Dist"):
            asked = Requirement(line)
            if asked.marker is None:
                assert asked.specifier.contains(versions[asked.name.lower()]), (python, line)


DISTRIBUTED = """
import dagster as dg
import dagster_celery, dagster_dask, dagster_k8s, dagster_postgres

@dg.asset
def one() -> None: ...

with dg.DagsterInstance.get() as instance:
    assert dg.materialize([one], instance=instance).success
    assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
"""


@pytest.mark.long
@pytest.mark.postgres
def test_the_extra_for_several_machines_works_in_an_empty_environment(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2

    venv.create(tmp_path / "environment", with_pip=True, symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", f"{wheel}[distributed]", cwd=tmp_path)
    run(*pip, "check", cwd=tmp_path)
    name = f"packaging_{uuid.uuid4().hex[:8]}"
    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    url = f"{POSTGRES.rpartition('/')[0]}/{name}"
    (tmp_path / "dagster.yaml").write_text(
        f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{url}'}}}}\n"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    try:
        run(python, "-c", DISTRIBUTED, cwd=tmp_path)
    finally:
        connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.close()
