"""Thousands of damaged project files end in definitions or in an error with file and line."""

import itertools
import json
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from loadsmith import build_definitions
from loadsmith.cli import cli
from loadsmith.config.files import ProjectFiles, read_project
from loadsmith.errors import ConfigError

SEED = 20_260
DAMAGES = 3_000
BUILT_EVERY = 50
MAX_SECONDS = 2.0
EXAMPLES = Path(__file__).parents[2] / "examples"

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


@dataclass(frozen=True)
class Target:
    """A file of a project that is damaged, and the folder that is read then."""

    config: Path
    file: Path
    text: str

    def name(self) -> str:
        return self.file.relative_to(self.config).as_posix()


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
    found = list(re.finditer(r"(?:: |- |\[|, )([^\n,\]{}]+)", text))
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
    match = random_.choice(list(re.finditer(r": ([^\n,\[\]{}]+)", text)))
    return text[: match.start(1)] + value + text[match.end(1) :]


DAMAGING: list[Callable[[random.Random, str], str | bytes]] = [
    *(delete_line, duplicate_line, swap_lines, repeat_block, change_indentation, replace_value),
    *(replace_value, replace_word, put_in, put_in, delete_some, cut, flip_bytes, flip_bytes),
    *(encode_otherwise, nest_deeply, repeat_by_aliases),
]


def damage(random_: random.Random, text: str) -> tuple[str, bytes]:
    """Damage a text once or twice; return how, and what is left of it."""
    kinds = [random_.choice(DAMAGING)]
    if random_.random() < 0.2:
        kinds.insert(0, random_.choice([put_in, replace_value, delete_line, replace_word]))
    damaged: str | bytes = text
    for kind in kinds:
        assert isinstance(damaged, str)
        damaged = kind(random_, damaged)
    raw = damaged.encode() if isinstance(damaged, str) else damaged
    return " and ".join(kind.__name__ for kind in kinds), raw


@pytest.fixture
def targets(tmp_path: Path) -> list[Target]:
    """The files of the examples and of a new project, as YAML and as JSON."""
    ignored = shutil.ignore_patterns("__pycache__", "data", "*.duckdb*", ".dlt", "*.db")
    for name in ("demo", "github"):
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored)
    made = CliRunner().invoke(cli, ["init", str(tmp_path / "new"), "--yes"])
    assert made.exit_code == 0, made.output
    found = []
    for name in ("demo", "github", "new"):
        config = tmp_path / name / "odp_config"
        assert isinstance(read_project(config), ProjectFiles)
        for file in sorted(config.rglob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            found.append(Target(config, file, text))
            tree = json.dumps(yaml.safe_load(text), default=str, indent=2)
            found.append(Target(config, file.with_suffix(".json"), tree))
    return found


def assert_is_told(error: ConfigError, target: Target, raw: bytes) -> None:
    """All problems name a file of the project and a line that it has."""
    assert error.problems
    breaks = re.findall("\r\n|[\n\r\x85\u2028\u2029]", raw.decode("utf-8", "replace"))
    for problem in error.problems:
        assert problem.message
        assert len(str(problem)) < 2_000
        if problem.file == target.name():
            assert 1 <= problem.line <= len(breaks) + 1, problem
            assert problem.column >= 1, problem
        else:
            # What another file refers to may have been in the damaged one.
            assert (target.config / problem.file).is_file(), problem
            assert problem.line >= 1, problem


def test_thousands_of_damaged_files_end_in_a_project_or_in_file_and_line(targets):
    print(f"seed {SEED}")  # noqa: T201 - shown with a failure
    random_ = random.Random(SEED)
    read = refused = built = 0
    failures = []
    for number in range(DAMAGES):
        target = random_.choice(targets)
        how, raw = damage(random_, target.text)
        original = target.file.with_suffix(".yaml")
        aside = original.with_suffix(".aside")
        original.rename(aside)
        target.file.write_bytes(raw)
        started = time.process_time()
        try:
            read_project(target.config)
            read += 1
            if read % BUILT_EVERY == 0:
                built += 1
                started = time.process_time()
                build_definitions(target.config)
        except ConfigError as error:
            refused += 1
            try:
                assert_is_told(error, target, raw)
            except AssertionError as wrong:
                failures.append(f"{number} {how} {target.name()}: told as {wrong}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how} {target.name()}: {error!r}")
        seconds = time.process_time() - started
        if seconds > MAX_SECONDS:
            failures.append(f"{number} {how} {target.name()}: took {seconds:.1f} s")
        target.file.unlink()
        aside.rename(original)
    print(f"{read} read, of which {built} built; {refused} refused")  # noqa: T201 - the figures of the test
    assert not failures, f"seed {SEED}, {len(failures)}:\n" + "\n".join(failures[:20])
    # Damages that only ever destroy, or never do, would show nothing.
    assert min(read, refused) > DAMAGES // 10
