"""The JSON Schemas that editors read take files that are right, and refuse those that are not."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

from loadsmith.cli.json_schema import make_json_schema
from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").glob("*/odp_config/**/*.yaml"))
WORKFLOW = {
    "assets": [
        {
            "asset_key": "shop/orders",
            "task_type": "dlt",
            "params": {"source_module": "shop.source", "destination": "duckdb"},
        }
    ]
}


def kind_of(path: Path) -> str:
    return "config" if path.name == "dagster_config.yaml" else "workflow"


def mistakes(kind: str, content: object) -> list[str]:
    schema = make_json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(content)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_files_of_the_examples_are_taken(path: Path) -> None:
    assert mistakes(kind_of(path), yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_the_files_that_init_makes_are_taken_by_the_schema_that_they_name(
    call, tmp_path, monkeypatch, layout, source, destination
) -> None:
    monkeypatch.chdir(tmp_path)
    choices = ["--layout", layout, "--source", source, "--destination", destination]
    assert call("init", "new", *choices, "--yes").exit_code == 0
    found = 0
    for path in Path("new").rglob("*.yaml"):
        text = path.read_text()
        first = text.splitlines()[0]
        if "yaml-language-server" not in first:
            continue
        found += 1
        named = (path.parent / first.partition("$schema=")[2]).resolve()
        kind = named.name.removesuffix(".schema.json")
        # A component's schema is that of its attributes, or of the whole file.
        content = yaml.safe_load(text)
        assert mistakes(kind, content) == []
    assert found == (2 if layout == "odp" else 1)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("assets", 0, "asset_keys"), "shop/orders"),
        (("assets", 0, "asset_key"), 7),
        (("assets", 0, "params", "destnation"), "duckdb"),
        (("assets", 0, "params", "source_module"), ["shop"]),
        (("asset",), []),
    ],
)
def test_a_mistake_gets_a_red_line(place, value) -> None:
    assert mistakes("workflow", WORKFLOW) == []
    wrong = copy.deepcopy(WORKFLOW)
    inner = wrong
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert mistakes("workflow", wrong) != []


def test_a_mistake_in_the_configuration_gets_a_red_line() -> None:
    right = {"resources": [{"resource_kind": "dlt", "params": {"project_dir": "dlt_project"}}]}
    assert mistakes("config", right) == []
    assert mistakes("config", {"resource": []}) != []
    wrong = {"resources": [{"resource_kind": "dlt", "params": {"project_dirs": "dlt_project"}}]}
    assert mistakes("config", wrong) != []
