"""What holds for all pages: the site builds, links lead somewhere, names and keys exist."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PROSE = [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
TITLED = ("yaml", "python", "toml", "json", "sql")
#: Pages that show a part of a file or a command too long to run, and why.
UNTITLED = {
    "performance.md": "excerpts of settings, and the benchmark takes minutes",
}

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


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_block_of_code_is_a_file_of_a_project(page):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    loose = [text for language, title, text in blocks if language in TITLED and not title]
    if page.name in UNTITLED:
        return
    assert loose == []


def test_every_page_with_code_is_walked_through_by_a_test():
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
    )
    with_code = [
        page
        for page in PAGES
        if any(title for _, title, _ in BLOCK.findall(page.read_text(encoding="utf-8")))
    ]
    missing = [page for page in with_code if f'"{page.relative_to(DOCS).as_posix()}"' not in tests]
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
    assert {"rows_loaded", "cursor", "load_id"} <= written
    assert sorted(written - documented) == []


def test_every_key_on_the_page_is_written_somewhere():
    page = (DOCS / "reference" / "metadata.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src" / "loadsmith" / "assets").glob("*.py")
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
    """Return the names that `assets/metadata.py` and the report write into mappings `found`."""
    folder = ROOT / "src" / "loadsmith" / "assets"
    keys = {"loadsmith/resource", "loadsmith/table", "loadsmith/load"}
    for name in ("metadata.py", "report.py"):
        for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "found":
                keys |= constants([node.slice])
            elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "found":
                keys |= constants(getattr(node.value, "keys", []))
    return keys


def constants(nodes):
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
