"""One attempt at a time works on a slice, and one that was given up changes nothing any more.

An attempt writes a claim beside the ledger before it reads a cursor, and a lease, which it renews
while it works. A claim is taken over when Dagster says that its run has ended, when the lease has
run out by the clock of the destination, or when its process is known to have ended.
Whoever takes over deletes the claim, which waits for the transactions that hold it; then no commit
of the attempt before can follow.
"""

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from dlt.common.destination.exceptions import DestinationTerminalException

from loadsmith.engine.locks import exclusive, repeat, this_execution, this_process
from loadsmith.engine.once.damaged import damaged_error
from loadsmith.model import Partition, RunRequest

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

CLAIM_TABLE = "_dlt_loadsmith_claims"
LEASE_TABLE = "_dlt_loadsmith_leases"

#: Seconds that a lease runs, and the variable of the environment that says otherwise.
LEASE_SECONDS = 60.0
LEASE_VARIABLE = "LOADSMITH_LEASE_SECONDS"

#: Seconds at most until a run looks again that began in the same moment as another one.
_MOST_JITTER = 0.5


class ClaimLostError(DestinationTerminalException):
    """The claim of this attempt is gone: another one has taken over."""


@dataclass(frozen=True)
class Claim:
    """What an attempt says of itself while it works on a slice.

    Attributes:
        load: The scope of the load as a whole.
        partition: The partition, as plain data.
    """

    token: str
    scope: str
    run_id: str
    attempt: int
    process: str
    execution: str
    lease: float
    load: str = ""
    partition: Mapping[str, Any] = field(default_factory=dict)

    def concerns(self, other: "Claim") -> bool:
        """Tell whether two attempts may not work at once, because a row may belong to both."""
        return (
            self.load == other.load
            and self.load != ""
            and Partition.from_dict(self.partition).overlaps(Partition.from_dict(other.partition))
        )

    def to_text(self) -> str:
        """Return the claim as JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str, token: str) -> "Claim":
        """Read what `to_text` wrote; what is damaged is a claim of a run without a name."""
        try:
            value = json.loads(text)
            known = {one.name: value[one.name] for one in fields(Claim) if one.name in value}
            claim = Claim(**known)
            if claim.token == token and claim.run_id:
                return claim
        except (KeyError, TypeError, ValueError):
            pass
        return Claim(
            token=token,
            scope="",
            run_id="",
            attempt=0,
            process="",
            execution="",
            lease=LEASE_SECONDS,
        )

    @property
    def is_damaged(self) -> bool:
        """Whether nobody knows any more what it claims."""
        return not self.run_id

    @property
    def holder(self) -> str:
        """Who works, for messages."""
        return f"run {self.run_id} on {self.process.rpartition(':')[0]}"


@dataclass(frozen=True)
class FoundClaim:
    """A claim that is in the destination, and whether it is in force by what is known there.

    Attributes:
        is_over: Whether its lease has run out, or its process has ended.
        age: Seconds since its lease was renewed; None where it has none.
    """

    claim: Claim
    is_over: bool
    age: float | None = None


class Claims(Protocol):
    """Where the claims of a destination are kept."""

    def claims(self) -> list[FoundClaim]:
        """Return all claims that are there."""

    def has_claim(self, token: str) -> bool:
        """Tell whether a claim is there."""

    def write_claim(self, claim: Claim) -> None:
        """Write a claim and its lease; writing it again changes nothing."""

    def renew_lease(self, token: str) -> None:
        """Let the lease of a claim run from now on."""

    def remove_claim(self, claim: Claim) -> None:
        """Delete a claim; wait for the transactions that hold it."""


def whole_claims(
    claims: Claims,
    found: Sequence[FoundClaim],
    workspace: "Workspace",
    place_of: Callable[[Claim], str],
) -> list[FoundClaim]:
    """Return the claims that say what they are of; damaged ones go when their lease is over.

    Raises:
        RunError: A damaged one is kept up by somebody, and may be of any load.
    """
    for one in found:
        if one.claim.is_damaged:
            if not one.is_over:
                raise damaged_error(workspace, place_of(one.claim), "")
            claims.remove_claim(one.claim)
    return [one for one in found if not one.claim.is_damaged]


def lease_seconds() -> float:
    """Return the seconds that a lease of this process runs."""
    return float(os.environ.get(LEASE_VARIABLE, LEASE_SECONDS))


def is_given_up(found: FoundClaim, request: RunRequest) -> bool:
    """Tell whether nobody counts on an attempt any more."""
    claim = found.claim
    if found.is_over:
        return True
    if claim.run_id == request.run_id:
        # The same attempt again comes from a queue that delivers twice; its lease decides.
        return claim.attempt < request.attempt
    return request.outcome_of(claim.run_id) in ("failed", "succeeded")


def is_stopped(workspace: "Workspace") -> bool:
    """Tell whether a run was cancelled; one that has lost its claim learns of that by a look."""
    return workspace.request.cancelled() and not workspace.lost.is_set()


class Attempt:
    """This attempt at a slice: its claim, and the lease while it works.

    Attributes:
        claim: What it says of itself.
        taken: Whether the claim is in the destination.
    """

    def __init__(self, workspace: "Workspace", load: str, partition: Partition) -> None:
        self._workspace = workspace
        self._request = workspace.request
        self.claim = Claim(
            token=workspace.token,
            scope=workspace.scope,
            load=load,
            partition=partition.to_dict(),
            run_id=self._request.run_id,
            attempt=self._request.attempt,
            process=this_process(),
            execution=this_execution(),
            lease=lease_seconds(),
        )
        self.taken = False
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._alive = contextlib.ExitStack()

    def take(self, claims: Claims) -> list[Claim] | str:
        """Take the claim; return the claims that were taken over, or who has it instead."""
        self._show_life()
        others = self._others(claims.claims())
        if not (holders := self._holders(others)):
            claims.write_claim(self.claim)
            others = self._others(claims.claims())
            if holders := self._holders(others):
                # Both see one another then, and both step back.
                claims.remove_claim(self.claim)
                time.sleep(random.uniform(0, _MOST_JITTER))  # noqa: S311 - no secret
        if holders:
            return ", ".join(sorted(holders))
        for found in others:
            claims.remove_claim(found.claim)
            if (path := self._workspace.claim_path(found.claim.token)) is not None:
                for left in (path, path.with_name(f"{path.name}.holder")):
                    left.unlink(missing_ok=True)
        self.taken = True
        return [found.claim for found in others]

    def keep(self, renew: Callable[[], None]) -> None:
        """Renew the lease in a thread, until `stop_keeping`.

        Args:
            renew: Renews it once; raises `ClaimLostError` where the claim is gone.
        """
        if self._workspace.claim_path(self.claim.token) is not None:
            return

        def work() -> bool:
            try:
                renew()
            except ClaimLostError:
                return False
            return True

        failed = "the lease of the run was not renewed"
        every = self.claim.lease / 3
        self._threads.append(repeat(work, every, self._ended, failed, self._request.log))

    def stop_keeping(self) -> None:
        """Renew no lease any more, and show no life."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if (path := self._workspace.claim_path(self.claim.token)) is not None:
            path.unlink(missing_ok=True)
        self._alive.close()

    def release(self, claims: Claims) -> None:
        """Delete the claim, where it is there."""
        if self.taken:
            claims.remove_claim(self.claim)
            self.taken = False

    def lose(self) -> ClaimLostError:
        """Take notice that the claim is gone; return what is to be raised."""
        self._workspace.lost.set()
        return ClaimLostError(f"the claim of run {self.claim.run_id} is gone")

    def successor(self, claims: Claims) -> str | None:
        """Return who works now, where somebody does."""
        return next((found.claim.holder for found in self._others(claims.claims())), None)

    def _show_life(self) -> None:
        """Hold the lock beside a database file, whose lease nobody can renew while others work."""
        path = self._workspace.claim_path(self.claim.token)
        if path is not None and not path.exists():
            who = f"run {self.claim.run_id}"
            self._alive.enter_context(
                exclusive(path, what="its claim", who=who, log=self._request.log)
            )

    def _others(self, found: Iterable[FoundClaim]) -> list[FoundClaim]:
        scopes = self._workspace.names.scopes
        return [
            one
            for one in found
            if one.claim.token != self.claim.token
            and (one.claim.scope in scopes or self.claim.concerns(one.claim))
        ]

    def _holders(self, found: Iterable[FoundClaim]) -> set[str]:
        return {self._holder(one) for one in found if not is_given_up(one, self._request)}

    def _holder(self, found: FoundClaim) -> str:
        """Return who works, and until when others wait at most if it stops doing so."""
        claim = found.claim
        if found.age is None or self._workspace.claim_path(claim.token) is not None:
            return claim.holder
        left = max(claim.lease - found.age, 0.0)
        return f"{claim.holder}, whose lease ends in {left:.0f} s unless it is renewed"
