"""Derive all names that keep two slices apart from the identity of a slice.

Two identities never share a name, except the state of windows and of the parts of one load: these
are merged, resource by resource. A partition key that is plain stands in the names as it is, with a
short hash. Any other partition or window has a hash of 128 bits.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from loadsmith.engine.locks import lock_name
from loadsmith.model import Slice
from loadsmith.names import words

_PLAIN_KEY = re.compile(r"[0-9A-Za-z]+(_[0-9A-Za-z]+)*")
_KEY_LENGTH = 40

# dlt makes a schema of the name of a pipeline, and has a limit for it.
_STATE_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class Names:
    """Where a run of a slice works, and what its state, lock and ledger entries are called.

    Attributes:
        state: Name of the pipeline that keeps the state.
        scope: What the ledger and messages call the slice.
        pipelines_dir: Folder of the working directory.
        lock_path: The file that the run locks.
        shares_state: Whether other slices may store states under the same name at the same time.
        released: The names of the slice in 0.1, where they differ. Its packages, state and
            ledger entries may still have them.
        window_scope: What 0.1 called all windows without a partition key of the load, and the load
            itself; for such a window.
    """

    state: str
    scope: str
    pipelines_dir: Path
    lock_path: Path
    shares_state: bool
    released: "Names | None" = None
    window_scope: str | None = None

    @property
    def working_dir(self) -> Path:
        """The working directory."""
        return self.pipelines_dir / self.state

    @property
    def workers_dir(self) -> Path:
        """Where the processes that normalize keep their locks."""
        return self.lock_path.with_suffix(".workers")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of ledger entries of the slice: its own, and the released one."""
        released = self.scope if self.released is None else self.released.scope
        return (self.scope,) if released == self.scope else (self.scope, released)


def names_of(slice_: Slice, home: Path) -> Names:
    """Return the names of a slice whose pipeline has its working directories in `home`."""
    keys, window = slice_.partition
    whole = _names(slice_, home, None, None)
    if not keys and window is None:
        return whole
    if len(keys) > 1 or window is not None:
        ends = (window.start.isoformat(), window.end.isoformat()) if window else ()
        label = " to ".join(ends) or f"{keys[0]} to {keys[-1]}"
        # A quoted key has no `%` but in `%25` and `%2F`.
        text = f"%{label} {digest(json.dumps([keys, ends]))}"
        return replace(_names(slice_, home, text, _hashed(text)), window_scope=whole.scope)
    (key,) = keys
    released = _names(slice_, home, key, f"{_plain(key)}_{_hex(key)}")
    if len(key) <= _KEY_LENGTH and _PLAIN_KEY.fullmatch(key):
        return released
    quoted = key.replace("%", "%25").replace("/", "%2F")
    return replace(_names(slice_, home, quoted, _hashed(key)), released=released)


def digest(text: str) -> str:
    """Return a hash of 128 bits, in letters and digits that every destination takes in a name."""
    whole = hashlib.sha256(text.encode()).digest()[:16]
    return base64.b32encode(whole).decode().rstrip("=").lower()


def _names(slice_: Slice, home: Path, partition: str | None, name: str | None) -> Names:
    base = slice_.pipeline_name
    part = None if slice_.owns_pipeline_name else slice_.load
    scope = "/".join(filter(None, (base, part, partition)))
    pipelines_dir = home
    if part or name:
        pipelines_dir = home / ".loadsmith" / slice_.load / (name or "")
    state = base
    if name and slice_.has_own_cursors:
        state = f"{base}__{name}"
        if len(state) > _STATE_LENGTH:
            end = digest(json.dumps([base, name]))
            state = f"{state[: _STATE_LENGTH - len(end) - 1]}_{end}"
    return Names(
        state=state,
        scope=scope,
        pipelines_dir=pipelines_dir,
        lock_path=home / ".loadsmith" / lock_name(scope),
        shares_state=part is not None or (pipelines_dir != home and state == base),
    )


def _plain(text: str) -> str:
    return words(text)[:_KEY_LENGTH]


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _hashed(text: str) -> str:
    return f"{_plain(text)}_{digest(text)}"
