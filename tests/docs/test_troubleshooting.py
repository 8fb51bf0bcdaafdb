"""The errors on the page of troubleshooting are texts that the code has."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
#: Stands for a value in a text of the code.
VALUE = "\0"


def texts_of_the_code():
    for path in (ROOT / "src" / "loadsmith").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    getattr(part, "value", VALUE) if isinstance(part, ast.Constant) else VALUE
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value.replace("%s", VALUE)


def test_each_error_of_the_page_is_in_the_code():
    """Whoever changes a text changes the page; `...` stands for one value or more."""
    texts = list(texts_of_the_code())
    errors = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
    patterns = {
        error: r".*".join(re.escape(part.strip()) for part in error.split("...") if part.strip())
        for error in errors
    }
    assert len(errors) > 20
    assert [
        error
        for error, pattern in patterns.items()
        if not any(re.search(pattern, text, re.DOTALL) for text in texts)
    ] == []
