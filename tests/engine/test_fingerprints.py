"""A fingerprint is of what code does, and of all that it does."""

from pathlib import Path

import pytest

from loadsmith.engine.dlt_hooks.fingerprint import fingerprint_of


@pytest.fixture
def fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what gives the fingerprint of a name in a module of a text."""
    package = tmp_path / f"printed_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(text: str, name: str = "f") -> str | None:
        module = f"m{len(list(package.iterdir()))}"
        (package / f"{module}.py").write_text(text)
        return fingerprint_of(f"{package.name}.{module}:{name}")

    return of


METHOD = """
class A:
    @property
    def f(self):
        'Say.'
        return "# a"  # why
"""

OTHER = {
    "a statement behind an if": (
        "def f(x):\n    if x:\n        a()\n        b()\n",
        "def f(x):\n    if x:\n        a()\n    b()\n",
    ),
    "the else of a loop": (
        "def f(x):\n    for i in x:\n        if i: a()\n        else: b()\n",
        "def f(x):\n    for i in x:\n        if i: a()\n    else: b()\n",
    ),
    "a space in a text": ('def f():\n    return "a b"\n', 'def f():\n    return "ab"\n'),
    "a text on its line": (
        'def f():\n    run(\n        """DELETE FROM a WHERE b"""\n    )\n',
        'def f():\n    run(\n        """DELETE FROM a"""\n    )\n',
    ),
    "behind a text at the margin": (
        'def f():\n    s = """\nselect\n"""\n    return s + "1"\n',
        'def f():\n    s = """\nselect\n"""\n    return s + "2"\n',
    ),
    "a text in an f-string": (
        'def f(x):\n    return f"{x} #a"\n',
        'def f(x):\n    return f"{x} #b"\n',
    ),
    "a decorator above a gap": (
        "@cache\n# why\n\ndef f(x):\n    return 1\n",
        "# why\n\ndef f(x):\n    return 1\n",
    ),
    "two statements": (
        "def f(x):\n    return\n    a\n",
        "def f(x):\n    return a\n",
    ),
    "a constant that is read": (
        "K = 1\n\ndef f(x):\n    return K\n",
        "K = 2\n\ndef f(x):\n    return K\n",
    ),
    "an overload": (
        "@overload\ndef f(x: int): ...\ndef f(x):\n    return 1\n",
        "@overload\ndef f(x: str): ...\ndef f(x):\n    return 1\n",
    ),
}


@pytest.mark.parametrize("case", OTHER)
def test_code_that_does_something_else_has_another_fingerprint(case, fingerprint):
    before, after = (fingerprint(text) for text in OTHER[case])
    assert None not in (before, after)
    assert before != after


def test_comments_docstrings_and_layout_do_not_count(fingerprint):
    other = (
        "class A:\n    x = 1\n\n    @property\n    # one\n\n    def f( self ):\n\n"
        "        return ('# a')\n"
    )
    assert fingerprint(other, "A.f") == fingerprint(METHOD, "A.f") is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("class A:\n    def __init__(self):\n        if x:\n            self._y = 1\n", "A._y"),
        ("class A:\n    _y: int\n", "A._y"),
        ("try:\n    from m import _y\nexcept ImportError:\n    pass\n", "_y"),
        ("def f():\n    def g():\n        g._y = 1\n", "f._y"),
        ("def f(g):\n    setattr(g, '_y', 1)\n", "f._y"),
        ("_x, _y = 1, 2\n", "_y"),
        ("async def _y(): ...\n", "_y"),
    ],
)
def test_whatever_has_a_name_is_there_and_nothing_is_of_another(text, name, fingerprint):
    assert fingerprint(text, name) is not None
    assert fingerprint(text.replace("_y", "_z"), name) is None
    assert fingerprint("", name) is None
