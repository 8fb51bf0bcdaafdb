"""Fingerprints of functions in installed packages, by their text; nothing is imported.

Comments, docstrings and whitespace do not count. The text is compared and no syntax tree, because
trees differ between versions of Python.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# A docstring or a comment, which is dropped, or a string, which is kept.
_PART = re.compile(
    r"""(?P<doc>^[ \t]*[rRuU]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?''')[ \t]*$)"""
    r"""|(?P<text>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''"""
    r"""|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<comment>\#[^\n]*)""",
    re.MULTILINE | re.DOTALL,
)


# The line behind a function, by the indentation of the function. The texts in a class may have
# lines at the margin, so that only another definition ends a class.
_BEHIND = {
    indent: re.compile(rf"^[ ]{{0,{indent}}}[^\s)\]}}#]", re.MULTILINE) for indent in range(0, 9, 4)
}
_BEHIND_CLASS = re.compile(r"^(?:class|def|async def|@)", re.MULTILINE)


def fingerprint_of(function: str) -> str | None:
    """Return the fingerprint of a function, such as `dlt.load.load:Load.submit_job`.

    Returns:
        Twelve hexadecimal digits, or None where the function is not there.
    """
    module, _, path = function.partition(":")
    text = _text_of(module)
    *owners, name = path.split(".")
    for owner in owners:
        text = "".join(
            text[start : _end(_BEHIND_CLASS, text, start)]
            for start in _starts(text, "class ", owner)
        )
    texts = []
    for start in _starts(text, "def ", name):
        line = text.rfind("\n", 0, start) + 1
        indent = len(text[line:]) - len(text[line:].lstrip(" "))
        texts.append(text[_decorators(text, line, indent) : _end(_BEHIND[indent], text, start)])
    if not texts:
        return None
    code = "".join(_PART.sub(lambda part: part["text"] or "", "".join(texts)).split())
    return hashlib.sha256(code.encode()).hexdigest()[:12]


@cache
def _text_of(module: str) -> str:
    root, *names = module.split(".")
    spec = importlib.util.find_spec(root)
    for folder in (spec and spec.submodule_search_locations) or ():
        place = Path(folder, *names)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path.read_text("utf-8")
    return ""


def _starts(text: str, keyword: str, name: str) -> Iterator[int]:
    """Give the places at which a class or function of that name is defined: overloads are many."""
    place = text.find(keyword + name)
    while place >= 0:
        line = text[text.rfind("\n", 0, place) + 1 : place]
        end = place + len(keyword) + len(name)
        if line.strip() in ("", "async") and not (text[end] == "_" or text[end].isalnum()):
            yield place
        place = text.find(keyword + name, end)


def _end(behind: re.Pattern[str], text: str, start: int) -> int:
    found = behind.search(text, text.index("\n", start) + 1)
    return found.start() if found else len(text)


def _decorators(text: str, line: int, indent: int) -> int:
    """Return the place of the first decorator above a line, or of the line."""
    first = above = line
    while above:
        above = text.rfind("\n", 0, above - 1) + 1
        margin = text[above : above + indent + 1]
        if margin == " " * indent + "@":
            first = above
        elif text[above] == "\n" or margin.strip() not in ("", ")"):
            break
    return first
