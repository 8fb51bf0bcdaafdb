"""The README keeps to what is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = dict(BLOCK.findall(README))


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", BLOCKS["sh"], re.MULTILINE)
    assert targets[:1] == ["demo"]
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


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


def test_every_row_about_neighbours_has_a_page():
    rows = [line for line in README.splitlines() if line.startswith("| ") and "here" not in line]
    assert len(rows) > 5
    assert [row for row in rows if "](docs/" not in row.split("|")[1]] == []


def test_the_readme_is_a_screen_and_a_half():
    assert len(README.splitlines()) < 85
