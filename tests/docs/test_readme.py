"""The README keeps to what is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {language: text for language, text in BLOCK.findall(README) if language != "sh"}
MAKE, OWN_PROJECT = (text for language, text in BLOCK.findall(README) if language == "sh")


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", MAKE, re.MULTILINE)
    assert targets[:1] == ["demo"]
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_plain_make_shows_the_targets_and_installs_nothing(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = re.findall(r"^  make ([\w-]+) +\S", done.stdout, re.MULTILINE)
    named = re.findall(r"`make ([\w-]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert {"help", "demo", "ui", "install", *named} <= set(shown)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_the_asset_of_the_readme_is_the_demos():
    workflow = ROOT / "examples" / "demo" / "odp_config" / "workflows" / "countries.yaml"
    there = [line.split("#")[0].rstrip() for line in workflow.read_text("utf-8").splitlines()]
    assert [line for line in BLOCKS["yaml"].splitlines() if line not in there] == []


def test_the_python_of_the_readme_builds_the_demo(monkeypatch):
    monkeypatch.chdir(ROOT / "examples" / "demo")
    scope = {}
    exec(BLOCKS["python"], scope)
    keys = {spec.key.to_user_string() for spec in scope["defs"].resolve_all_asset_specs()}
    assert {"countryinfo/countries", "countryinfo/countries__timezones"} <= keys


def test_the_project_of_the_readme_loads(tmp_path, monkeypatch):
    """In the environment of the tests, which stands for what the first two lines make.

    Tests of the command line open the page, which is the last line.
    """
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    first, install, *commands, page = OWN_PROJECT.splitlines()
    assert first.endswith(". .venv/bin/activate")
    assert install.startswith('pip install "loadsmith[ui]" ')
    assert page.startswith("loadsmith dev ")
    scripts = Path(sys.executable).parent
    text = "\n".join([f'PATH="{scripts}:$PATH"', *commands])
    done = subprocess.run(
        ["bash", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 assets, 320 rows" in done.stdout


def test_every_row_about_neighbours_has_a_page_that_a_test_runs():
    rows = [
        line for line in README.splitlines() if line.startswith("| ") and "other tools" not in line
    ]
    walked = (Path(__file__).parent / "test_pages.py").read_text(encoding="utf-8")
    python = (Path(__file__).parent / "test_python_pages.py").read_text(encoding="utf-8")
    assert len(rows) > 5
    for row in rows:
        pages = re.findall(r"\]\(docs/([^)#]+)", row.split("|")[1])
        assert pages, row
        assert [page for page in pages if f'"{page}"' not in walked + python] == []


def test_the_readme_is_a_screen_and_a_half():
    assert len(README.splitlines()) < 92
