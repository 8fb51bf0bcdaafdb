"""Ways to damage a text that a person has written: YAML, JSON or TOML."""

import itertools
import random
import re
from collections.abc import Callable

#: What a value becomes: other types, what YAML and JSON read in surprising ways, and attacks.
SCALARS = [
    *("null", "~", "true", "no", "0", "-1", "1.5", ".nan", "-.inf", "1e400", "9" * 400, "0x1F"),
    *("12:30:45", "2024-02-31", "2024-01-01T25:00:00", "[]", "{}", "[null]", "{a: {b: [c]}}"),
    *("''", "' '", "'\\0'", '"\\x00"', '"\\ud800"', "'../../../etc/passwd'", "x" * 100_000),
    *("{{", "'{{'", "'{{}}'", "'{{#date}}'", "'{{a.b.c}}'", "'{{#date}}{{x}}|%Q{{/date}}'"),
    *("&a [*a]", "*nothing", "&a x", "<<", "|", ">", "? x", "- x", "!!int x", "!!float x"),
    *("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!own x"),
    *("!!binary '###'", "!!timestamp x", "!!set {a, b}", "!!str 5", "'%s %d {0}'", "\U0001f600"),
]

#: What is put somewhere into the text.
PIECES = [
    *("\0", "\ufeff", "\t", "\r", "\r\n", "'", '"', "`", "@", "%", "&a ", "*a", "!", "|", ">"),
    *("- ", ": ", ":", "#", "[", "]", "{", "}", "{{", "}}", ",", "---\n", "...\n", "%YAML 9.9\n"),
    *("<<: ", "? ", "\u2028", "\x85", "\x1b", "\U0010ffff", "\\", '\\ud800"', "!!python/tuple "),
    *("/*", "//", "NaN", "Infinity", "-", "e9999", "null", "\n", "\n\n  ", "\n- "),
]


def _lines(random_: random.Random, text: str, change: Callable[[list[str], int], None]) -> str:
    lines = text.splitlines(keepends=True)
    change(lines, random_.randrange(len(lines)))
    return "".join(lines)


def delete_line(random_: random.Random, text: str) -> str:
    return _lines(random_, text, lambda lines, at: lines.pop(at) and None)


def duplicate_line(random_: random.Random, text: str) -> str:
    return _lines(random_, text, lambda lines, at: lines.insert(at, lines[at]))


def swap_lines(random_: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    one, other = random_.randrange(len(lines)), random_.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def repeat_block(random_: random.Random, text: str) -> str:
    """Duplicate keys, and entries that are there twice."""
    lines = text.splitlines(keepends=True)
    at = random_.randrange(len(lines))
    block = lines[at : at + random_.randrange(1, 12)]
    return "".join(lines[: at + len(block)] + block + lines[at + len(block) :])


def change_indentation(random_: random.Random, text: str) -> str:
    indent = random_.choice(["", " ", "  ", "   ", "\t", " \t", "        ", "\u00a0 "])

    def change(lines: list[str], at: int) -> None:
        keep = lines[at].lstrip(" ") if random_.random() < 0.5 else lines[at]
        lines[at] = indent + keep

    return _lines(random_, text, change)


def replace_value(random_: random.Random, text: str) -> str:
    """A scalar becomes something else; in JSON a member, in YAML what is behind a colon."""
    found = list(re.finditer(r"(?:: |- |\[|, | = )([^\n,\]{}]+)", text))
    if not found:
        return text
    match = random_.choice(found)
    return text[: match.start(1)] + random_.choice(SCALARS) + text[match.end(1) :]


def replace_word(random_: random.Random, text: str) -> str:
    """A name becomes another one of the file, so that fields stand where others belong."""
    words = list(re.finditer(r"\w+", text))
    match, other = random_.choice(words), random_.choice(words)
    return text[: match.start()] + other.group() + text[match.end() :]


def put_in(random_: random.Random, text: str) -> str:
    at = random_.randrange(len(text) + 1)
    return text[:at] + random_.choice(PIECES) + text[at:]


def delete_some(random_: random.Random, text: str) -> str:
    at = random_.randrange(len(text))
    return text[:at] + text[at + random_.randrange(1, 60) :]


def cut(random_: random.Random, text: str) -> bytes:
    raw = text.encode()
    return raw[: random_.randrange(len(raw))]


def flip_bytes(random_: random.Random, text: str) -> bytes:
    raw = bytearray(text.encode())
    for _ in range(random_.randrange(1, 5)):
        raw[random_.randrange(len(raw))] ^= 1 << random_.randrange(8)
    return bytes(raw)


def encode_otherwise(random_: random.Random, text: str) -> bytes:
    names = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"]
    return (text + "# \u00e4\u00f6").encode(random_.choice(names), "replace")


def nest_deeply(random_: random.Random, text: str) -> str:
    depth = random_.choice([50, 61, 500, 20_000])
    opening, closing = random_.choice([("[", "]"), ("{a: ", "}"), ('{"a": ', "}"), ("[{x: ", "}]")])
    deep = opening * depth + ("1" + closing * depth if random_.random() < 0.7 else "")
    return put_at_value(random_, text, deep)


def repeat_by_aliases(random_: random.Random, text: str) -> str:
    names = "abcdefghij"
    levels = ["&a [x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise(names):
        levels.append(f"&{name} [{', '.join([f'*{before}'] * 9)}]")
    return put_at_value(random_, text, f"[{', '.join(levels)}]")


def put_at_value(random_: random.Random, text: str, value: str) -> str:
    found = list(re.finditer(r"(?:: | = )([^\n,\[\]{}]+)", text))
    if not found:
        return text + value
    match = random_.choice(found)
    return text[: match.start(1)] + value + text[match.end(1) :]


DAMAGING: list[Callable[[random.Random, str], str | bytes]] = [
    *(delete_line, duplicate_line, swap_lines, repeat_block, change_indentation, replace_value),
    *(replace_value, replace_word, put_in, put_in, delete_some, cut, flip_bytes, flip_bytes),
    *(encode_otherwise, nest_deeply, repeat_by_aliases),
]


def damage(
    random_: random.Random, text: str, *, but: frozenset[str] = frozenset()
) -> tuple[str, bytes]:
    """Damage a text once or twice; return how, and what is left of it.

    Args:
        random_: What chooses.
        text: The text.
        but: Names of kinds of damage that are left out.
    """
    kinds = [random_.choice([kind for kind in DAMAGING if kind.__name__ not in but])]
    if random_.random() < 0.2:
        kinds.insert(0, random_.choice([put_in, replace_value, delete_line, replace_word]))
    damaged: str | bytes = text
    for kind in kinds:
        assert isinstance(damaged, str)
        damaged = kind(random_, damaged)
    raw = damaged.encode() if isinstance(damaged, str) else damaged
    return " and ".join(kind.__name__ for kind in kinds), raw
