"""Every exception that loadsmith raises; the tree follows what the reader can do.

* LoadsmithError
  + ConfigError            the description is wrong; fix the file (see `.problems`)
    - UnknownArgument      `run` takes no such argument; fix its name
  + ResolveError           a reference leads nowhere; fix the reference
    - SchemaFileNotFound   make the schema file first
    - SecretNotFound       put the secret into the file or the environment
  + TranslationError       the translator gave something unusable; fix the translator
  + SelectionError         a selected asset belongs to no resource of the load
  + RunError               the run went wrong; see `.stage`, `.load`, `.resources`
    - ContractViolation    the source broke its schema contract; see `.table`, `.column`, `.value`

The text of each is *place: what is wrong. What to do.*
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in one file, where it is and what to do.

    `line` and `column` count from 1; 0 where a file as a whole is meant.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class ContractBreach:
    """What a source yielded against its `schema_contract`; see `ContractViolation`."""

    table: str | None = None
    column: str | None = None
    value: str | None = None
    root_table: str | None = None


class LoadsmithError(Exception):
    """Base of all errors that loadsmith raises on purpose."""


class ConfigError(LoadsmithError):
    """The files of a project or the settings of a load are wrong.

    All problems that were found are in `problems`, in the order of the files.
    """

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        self.problems: tuple[Problem, ...]
        if isinstance(problems, str):
            self.problems = ()
            text = problems
        else:
            self.problems = tuple(sorted(problems))
            text = "\n".join(str(problem) for problem in self.problems)
        super().__init__(text)


class UnknownArgument(ConfigError, TypeError):
    """An argument of a run has a name that none has. It is a `TypeError`, too, as in dlt."""


class ResolveError(LoadsmithError):
    """A module, function, file, destination or name that a load refers to is not there."""


class SchemaFileNotFound(ResolveError):
    """A schema file that a load names does not exist."""


class SecretNotFound(ResolveError):
    """A secret that a load needs is neither in the environment nor in a secrets file."""


class TranslationError(LoadsmithError):
    """A translator gave a spec that Dagster or loadsmith cannot use."""


class SelectionError(LoadsmithError):
    """A run selects an asset that belongs to no resource of the load."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a source says about its failure, by raising Dagster's `Failure` or `RetryRequested`.

    Attributes:
        allow_retries: Whether a retry may help.
        metadata: Metadata of a `Failure`, without secrets.
        max_retries: Retries that a `RetryRequested` asks for; None if it was a `Failure`.
        seconds_to_wait: Seconds until that retry.
    """

    allow_retries: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_retries: int | None = None
    seconds_to_wait: float | None = None

    @staticmethod
    def of_all(verdicts: "Iterable[Verdict | None]") -> "Verdict | None":
        """Return the verdict on several failures: one that no retry can mend decides."""
        said = [verdict for verdict in verdicts if verdict is not None]
        if not said:
            return None
        first = next((verdict for verdict in said if not verdict.allow_retries), said[0])
        metadata = {name: value for verdict in said for name, value in verdict.metadata.items()}
        return replace(first, metadata=metadata)


class RunError(LoadsmithError):
    """A load failed.

    Attributes:
        stage: `sync`, `extract`, `normalize` or `load`.
        load: The name of the load.
        resources: The dlt resources that failed, where that is known.
        table: The table that failed, where that is known.
        verdict: What the source says about its failure, if it says anything.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str,
        load: str,
        resources: Sequence[str] = (),
        table: str | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.stage = stage
        self.load = load
        self.resources = tuple(resources)
        self.table = table


class ContractViolation(RunError):
    """The source yielded what its `schema_contract` forbids.

    Attributes:
        breach: What broke the contract, as plain data; the other attributes are taken from it.
        column: The column, if the contract is about one.
        value: The start of the value, without secrets.
        root_table: The table of the resource that `table` is nested in, or `table` itself; None if
            that is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        breach: ContractBreach,
        stage: str,
        load: str,
        resources: Sequence[str] = (),
    ) -> None:
        super().__init__(message, stage=stage, load=load, resources=resources, table=breach.table)
        self.breach = breach
        self.column = breach.column
        self.value = breach.value
        self.root_table = breach.root_table


def causes_of(error: BaseException | None, *, hidden: bool = False) -> Iterator[BaseException]:
    """Yield an error and what caused it, the outermost first.

    dlt keeps some causes in an attribute instead of `__cause__`; they come first.

    Args:
        error: The error.
        hidden: Whether to follow every cause of each error, suppressed ones and the errors of a
            group too. Without it, each error has one cause, so that the last one is the root.
    """
    waiting = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        members = getattr(current, "exceptions", None)
        causes = [
            *(members if hidden and isinstance(members, (list, tuple)) else ()),
            None if current.__suppress_context__ and not hidden else current.__context__,
            current.__cause__,
            *(getattr(current, name, None) for name in ("client_exception", "exception")),
        ]
        new = [
            cause for cause in causes if isinstance(cause, BaseException) and id(cause) not in seen
        ]
        waiting += new if hidden else new[-1:]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest of `known`, or a list of them, or nothing.

    >>> did_you_mean("dukdb", ["duckdb", "postgres"])
    " Did you mean 'duckdb'?"
    """
    candidates = sorted(set(known))
    close = get_close_matches(name, candidates, n=3, cutoff=0.6)
    if close:
        return " Did you mean " + " or ".join(repr(match) for match in close) + "?"
    if candidates and len(candidates) <= 12:
        return " There is: " + ", ".join(candidates) + "."
    return ""


def one_of(choices: Sequence[str], value: object, name: str) -> str:
    """Return a value that is one of the choices.

    Args:
        choices: What can be chosen.
        value: What was.
        name: Of the option, and where it is, as the error shall call it.

    Raises:
        ConfigError: It is none of them.
    """
    if isinstance(value, str) and value in choices:
        return value
    *others, last = (f"'{choice}'" for choice in choices)
    raise ConfigError(
        f"{name}: take {', '.join(others)} or {last}, not {value!r}."
        f"{did_you_mean(str(value), choices)}"
    )
