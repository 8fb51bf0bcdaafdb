"""The rooms of the code: their faces, and the picture of them in CONTRIBUTING.md."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src"

#: Packages whose face is all that other packages import.
ROOMS = sorted(
    ".".join(folder.relative_to(SOURCE).parts)
    for pattern in (
        "engine/*/",
        "assets/*/",
        "component/scaffold/",
        "cli/dg_project/",
        "documents/",
    )
    for folder in (SOURCE / "loadsmith").glob(pattern)
    if (folder / "__init__.py").is_file()
)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def test_a_room_is_used_by_its_face() -> None:
    """Only modules of a room import the modules of that room; the public names are an exception."""
    past_a_face = [
        f"{module_name(path)} imports {module}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "loadsmith/__init__.py"
        for module in imports_of(path)
        for room in ROOMS
        if module.startswith(f"{room}.") and not module_name(path).startswith(f"{room}.")
    ]
    assert past_a_face == []


def test_a_lazy_face_hands_out_every_name_that_it_lists() -> None:
    for room in ["loadsmith", *ROOMS]:
        face = importlib.import_module(room)
        for node in ast.walk(ast.parse(inspect.getsource(face))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}."):
                listed = importlib.import_module(str(node.module))
                for alias in node.names:
                    assert getattr(face, alias.name) is getattr(listed, alias.name)


def test_the_picture_in_contributing_names_the_rooms_that_exist() -> None:
    picture = (REPOSITORY / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:engine|assets|component|cli)/\w+/|documents/)`", picture))
    there = {f"{room.removeprefix('loadsmith.').replace('.', '/')}/" for room in ROOMS}
    assert named == there
