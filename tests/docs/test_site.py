"""What holds for all pages: the site builds, links lead somewhere, names and keys exist."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PROSE = [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
TITLED = ("yaml", "python", "toml", "json", "sql", "csv")
SHELL = ("sh", "bash", "console")
#: A line each for the start-up file of the shell, which `tests/cli` asks for completions.
COMPLETION = ("zsh", "fish")
#: Text that is neither run nor compared may be a drawing or a message, but no command.
COMMAND = re.compile(r"^(\$ |(loadsmith|dagster|dg|pip|python3?|make|pytest|mkdocs|uv) )", re.M)
#: Generated from the help texts, whose examples have a test beside them.
GENERATED = DOCS / "reference"
NOT_RUN = tomlkit.parse((Path(__file__).parent / "not_run.toml").read_text("utf-8")).unwrap()

BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def ids(path):
    return path.relative_to(ROOT).as_posix()


def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis" not in page
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_links_lead_to_files(page):
    text = re.sub(BLOCK, "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if not re.match(r"\w+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_names_in_prose_exist(page):
    text = re.sub(BLOCK, "", page.read_text(encoding="utf-8"))
    names = set(re.findall(r"`(loadsmith(?:\.\w+)+)(?:\([^`]*\))?`", text))
    assert [name for name in sorted(names) if not exists(name)] == []


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_paths_in_prose_exist(page):
    text = re.sub(BLOCK, "", page.read_text(encoding="utf-8"))
    paths = set(re.findall(r"`((?:tests|bench|examples|docs|src)/[\w./-]+)`", text))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def name_of(page):
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def is_left_out(page, text):
    return any(line in NOT_RUN.get(name_of(page), {}) for line in text.splitlines())


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", *EXAMPLES], ids=ids)
def test_every_block_of_code_is_a_file_or_is_run(page):
    """Files have a title and are written, `sh` is run; all else is no code, or has a reason."""
    loose = [
        text
        for language, title, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if not is_left_out(page, text)
        and (
            (language in TITLED and not title)
            or (language not in (*TITLED, *SHELL, *COMPLETION, "text", "diff"))
            or (
                (language == "text" and not title and GENERATED not in page.parents)
                and COMMAND.search(text)
            )
        )
    ]
    assert loose == []


def test_what_is_not_run_has_a_reason_and_is_still_there():
    pages = {name_of(page): page for page in (*PAGES, ROOT / "README.md", *EXAMPLES)}
    for name, blocks in NOT_RUN.items():
        lines = {
            line
            for _, _, text in BLOCK.findall(pages[name].read_text(encoding="utf-8"))
            for line in text.splitlines()
        }
        assert [line for line in blocks if line not in lines] == [], name
        assert all(len(reason) > 10 for reason in blocks.values())


def test_every_page_with_code_is_walked_through_by_a_test():
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
    )
    with_code = [
        page
        for page in (*PAGES, *EXAMPLES)
        if any(
            (title or language in SHELL) and not is_left_out(page, text)
            for language, title, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        )
    ]
    assert len(with_code) > 20
    missing = [page for page in with_code if f'{name_of(page)}"' not in tests]
    assert [ids(page) for page in missing] == []


def test_the_reference_is_what_the_code_says():
    generator = runpy.run_path(str(DOCS / "generate_reference.py"))
    stale = [
        name
        for name, text in generator["make_pages"]().items()
        if (DOCS / "reference" / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `python docs/generate_reference.py`"


def test_every_key_of_metadata_is_on_its_page():
    page = (DOCS / "reference" / "metadata.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    written = metadata_keys()
    assert {"rows_loaded", "cursor", "load_ids"} <= written
    assert sorted(written - documented) == []


def test_every_key_on_the_page_is_written_somewhere():
    page = (DOCS / "reference" / "metadata.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src" / "loadsmith" / "assets").rglob("*.py")
    )
    assert [key for key in sorted(documented) if f'"{key}"' not in sources] == []


def exists(name):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def metadata_keys():
    """Return the names that the Dagster side writes into mappings `metadata`."""
    folder = ROOT / "src" / "loadsmith" / "assets"
    keys = {"loadsmith/resource", "loadsmith/table", "loadsmith/load"}
    for name in ("run/metadata.py", "define/spec_metadata.py"):
        for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "metadata":
                keys |= constants([node.slice])
            elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "metadata":
                keys |= constants(getattr(node.value, "keys", []))
    return keys


def constants(nodes):
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
