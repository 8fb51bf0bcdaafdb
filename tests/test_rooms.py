"""The rooms of the code: their faces, and the picture of them in CONTRIBUTING.md."""

import ast
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


def test_a_lazy_face_hands_out_the_names_that_type_checkers_see() -> None:
    """A lazy face lists its names twice: for type checkers and for its `__getattr__`."""
    for room in ROOMS:
        face = SOURCE / room.replace(".", "/") / "__init__.py"
        tree = ast.parse(face.read_text())
        tables = [
            ast.literal_eval(node.value.args[1])
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        ]
        if not tables:
            continue
        listed = {
            (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}.")
            for alias in node.names
        }
        assert listed == {
            (f"{room}.{module}", name) for module, names in tables[0].items() for name in names
        }


def test_the_picture_in_contributing_names_the_rooms_that_exist() -> None:
    picture = (REPOSITORY / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:engine|assets|component|cli)/\w+/|documents/)`", picture))
    there = {f"{room.removeprefix('loadsmith.').replace('.', '/')}/" for room in ROOMS}
    assert named == there
