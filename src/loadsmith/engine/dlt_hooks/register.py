"""Compare what hooks rely on with what is installed, and report differences."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Literal

from loadsmith.engine.dlt_hooks.fingerprint import fingerprint_of

#: With this variable set to 1, a difference that would be an error is a warning.
UNTESTED_VARIABLE = "LOADSMITH_UNTESTED_DLT"

#: Stands for the fingerprint of a function that a version lacks.
ABSENT = "absent"


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One way in which loadsmith depends on what another package does not document.

    Attributes:
        name: What the hook is about, as messages name it.
        target: What is replaced, derived from, or called.
        kind: `process` replaces a name for the whole process; `instance` changes one object;
            `subclass` overrides; `setting` and `call` change nothing of the package.
        reason: Why no public name does.
        on_difference: `error` ends a run at its start; `warning` is in every run and in
            `list --settings`; `off` warns, too, and switches the hook off.
        lost: What a user may lose if the hook does not work.
        uses: The functions that the hook relies on, with the fingerprints of tested versions.
        reads: The names that have to be there, whatever they are, separated by spaces: by the
            module that has them, or by the class or function that sets them as attributes.
        destination: The type of destination that the hook is for; None if it is for all.
    """

    name: str
    target: str
    kind: Literal["process", "instance", "subclass", "setting", "call"]
    reason: str
    on_difference: Literal["error", "warning", "off"]
    lost: str
    uses: Mapping[str, str] = field(hash=False)
    reads: Mapping[str, str] = field(default_factory=dict, hash=False)
    destination: str | None = None


@dataclass(frozen=True)
class Difference:
    """A function or another name that is not as it was in any tested version.

    Attributes:
        hook: The hook that relies on it.
        name: The name, such as `dlt.load.load:Load.submit_job`.
        actual: Its fingerprint, or None where it is absent.
    """

    hook: Hook
    name: str
    actual: str | None

    @property
    def is_error(self) -> bool:
        """Whether a run must not start: always so where a name of an `error` hook is absent."""
        if self.hook.on_difference != "error":
            return False
        return self.actual is None or os.environ.get(UNTESTED_VARIABLE) != "1"

    def __str__(self) -> str:
        """Return what differs, what may be lost, and what to do."""
        package, _, _ = self.hook.target.partition(".")
        differs = "is not there" if self.actual is None else "is not as in the tested versions"
        return (
            f"{package} {version(package)} was not tested with loadsmith: `{self.name}` {differs}."
            f" {self.hook.lost}."
        )


@cache
def differences_of_hook(hook: Hook) -> tuple[Difference, ...]:
    """Return each name of a hook that is not as in a tested version; absent ones first."""
    return tuple(sorted(_differences(hook), key=lambda difference: difference.actual is not None))


def names_read(hook: Hook) -> Iterator[str]:
    """Give each name that has to be there for a hook, such as `dlt.extract.pipe:Pipe.parent`."""
    for owner, names in hook.reads.items():
        for name in names.split():
            yield f"{owner}.{name}" if ":" in owner else f"{owner}:{name}"


def _differences(hook: Hook) -> Iterator[Difference]:
    for function, known in hook.uses.items():
        actual = fingerprint_of(function)
        if (actual or ABSENT) not in known.split():
            yield Difference(hook, function, actual)
    for name in names_read(hook):
        if fingerprint_of(name) is None:
            yield Difference(hook, name, None)
