"""What differs is seen before anything is changed, and the page says all that differs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import loadsmith

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "from-dagster-dlt.md"

#: Stands for dagster-dlt, which is not installed here: the same names, keys and metadata.
OTHER = """
import dagster as dg

class DagsterDltResource(dg.ConfigurableResource): ...

class DagsterDltTranslator: ...

def dlt_assets(*, dlt_source, dlt_pipeline, group_name=None, dagster_dlt_translator=None):
    specs = [
        dg.AssetSpec(
            key=f"dlt_{dlt_source.name}_{name}",
            deps=[f"{dlt_source.name}_users"],
            kinds={"dlt", "duckdb"},
            description=resource._pipe.steps[0].__doc__,
            metadata={"dagster_dlt/source": dlt_source, "dagster/storage_kind": "duckdb"},
        )
        for name, resource in dlt_source.selected_resources.items()
    ]
    return dg.multi_asset(specs=specs, can_subset=True, group_name=group_name)
"""
MODULE = """
import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, DagsterDltTranslator, dlt_assets
{more}

@dlt.source(name="shop")
def shop():
    @dlt.resource
    def users():
        yield [{{"id": 1}}]

    @dlt.transformer(data_from=users)
    def details(page):
        yield page

    return users, details

@dlt_assets(
    dlt_source=shop(),
    dlt_pipeline=dlt.pipeline("moved", destination=dlt.destinations.duckdb("m.duckdb")),
    group_name="g",
)
def load(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
    yield from dlt.run(context=context)

{defs}
"""


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from loadsmith.cli import main; main()",
            "compare-dagster-dlt",
            *arguments,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_module_is_defined_with_both_and_what_differs_is_shown(tmp_path) -> None:
    (tmp_path / "dagster_dlt.py").write_text(dedent(OTHER))
    defs = "@dg.definitions\ndef defs(): return dg.Definitions([load])"
    (tmp_path / "mine.py").write_text(MODULE.format(more="", defs=defs))
    done = compare(tmp_path, "mine.py", "--json")
    assert done.returncode == 0, done.stderr
    found = {(one["asset"], one["field"]): one for one in json.loads(done.stdout)}
    assert set(found) == {
        ("dlt_shop_details", "deps"),
        *((f"dlt_shop_{name}", "metadata dagster_dlt/source") for name in ("users", "details")),
    }
    deps = found["dlt_shop_details", "deps"]
    assert (deps["before"], deps["after"]) == ("shop_users", "dlt_shop_users, shop_users")
    assert not list(tmp_path.glob("*.duckdb"))


def test_what_cannot_be_compared_is_told_in_one_line(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MODULE.format(more="", defs=""))
    done = compare(tmp_path, "mine")
    assert done.returncode == 1
    assert "mine, defined with dagster-dlt: ModuleNotFoundError" in done.stderr
    (tmp_path / "dagster_dlt.py").write_text(dedent(OTHER) + "\ndef strange(): ...\n")
    more = "from dagster_dlt import strange"
    (tmp_path / "mine.py").write_text(MODULE.format(more=more, defs=""))
    done = compare(tmp_path, "mine")
    assert "defined with loadsmith: ImportError: loadsmith has no 'strange'" in done.stderr


#: The test that holds each difference, by the words that its row begins with.
HELD_BY = {
    "a partition that is loaded again": ("reload/test_reload.py", "replace"),
    "new tables of the file system": ("coming_over/test_data_stays.py", "keep_their_format"),
    "`dagster/table_name`": ("assets/test_like_dagster_dlt.py", "which is no table"),
    "`jobs` is a list": ("coming_over/test_names_of_dagster_dlt.py", '["jobs"].records'),
    "a transformer has": ("assets/test_like_dagster_dlt.py", "is its upstream as well"),
    "the metadata of specs": ("coming_over/test_names_of_dagster_dlt.py", "dlt_load_of(context)"),
    "translators call": ("coming_over/test_names_of_dagster_dlt.py", "private_methods"),
    "static partitions share": ("coming_over/test_names_of_dagster_dlt.py", "static_partitions"),
    "the working directory": ("reliability/test_once.py", "def test_"),
    "the op has no": ("assets/test_decorator_and_runner.py", "run_config"),
    "a failed `fetch_row_count`": ("assets/test_decorator_and_runner.py", "fetch_row_count"),
    "`dg scaffold defs`": ("component/test_component_scaffolder.py", "def test_"),
}


def rows_of_the_page() -> list[list[str]]:
    table = PAGE.read_text().split("## What is different", 1)[1].split("## What is better", 1)[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_the_page_lists_what_is_left_with_what_to_write_instead() -> None:
    rows = rows_of_the_page()
    assert all(len(row) == 3 and all(row) for row in rows)
    assert rows[0][0].startswith("a partition that is loaded again")
    for row, (begin, (file, words)) in zip(rows, HELD_BY.items(), strict=True):
        assert row[0].startswith(begin)
        assert words in (REPOSITORY / "tests" / file).read_text()


def test_the_names_that_the_page_says_to_write_are_there() -> None:
    written = " ".join(row[2] for row in rows_of_the_page())
    for name in re.findall(r"super\(\)\.(\w+)|self\.(\w+)|`(get_\w+)`", written):
        assert hasattr(loadsmith.DagsterDltTranslator, "".join(name))
    assert "`dlt_load_of(context).source`" in written
    assert {"source", "pipeline", "translator"} <= set(loadsmith.DltLoad.__annotations__)
