"""Feeds: which resources feed which others, and whose cursors move when a resource is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loadsmith.model.snapshot import ResourceSnapshot


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Who feeds whom in one source.

    Attributes:
        chains: For each resource its name, the name of what feeds it, and so on to the root, which
            nothing feeds. A feed need not be a resource of the source: `return p | t`.
        cursors: Names of the resources and feeds that have a cursor.
    """

    chains: Mapping[str, tuple[str, ...]]
    cursors: frozenset[str] = frozenset()

    @staticmethod
    def of_snapshots(resources: Iterable[ResourceSnapshot]) -> "Feeds":
        """Return what is known from snapshots of resources; a schema file knows no feeds."""
        by_name = {resource.name: resource for resource in resources}
        chains, cursors = {}, set[str]()
        for resource in by_name.values():
            chain = [resource.name, *resource.feeds]
            # A snapshot of 0.1 knows the next feed only.
            while not resource.feeds and (last := by_name.get(chain[-1])) and last.upstream:
                if last.upstream in chain:
                    break
                chain.append(last.upstream)
            chains[resource.name] = tuple(chain)
            cursors.update(resource.cursors)
            if resource.incremental is not None:
                cursors.add(resource.name)
        return Feeds(chains=chains, cursors=frozenset(cursors))

    def chain(self, name: str) -> tuple[str, ...]:
        """Return a resource, what feeds it, and so on to its root."""
        return self.chains.get(name, (name,))

    def root(self, name: str) -> str:
        """Return the name of what feeds a resource in the end; its own if nothing does."""
        return self.chain(name)[-1]

    def moved(self, name: str) -> tuple[str, ...]:
        """Return the names whose cursors move when a resource is read."""
        return tuple(feed for feed in self.chain(name) if feed in self.cursors)

    def families(self, names: Iterable[str], tables: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Return `names` in groups that hang from one root, or load into one table.

        Args:
            names: Names of resources.
            tables: The table of a resource, where it has one.
        """
        return joined(
            {name: (f"root {self.root(name)}", f"table {tables.get(name, name)}") for name in names}
        )


def joined(marks: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Return names in groups that share a mark, directly or through others, in their order.

    Each name has a mark at least.
    """
    leads: dict[str, str] = {}

    def last(mark: str) -> str:
        while (following := leads.setdefault(mark, mark)) != mark:
            leads[mark] = leads[following]
            mark = following
        return mark

    known = {name: tuple(own) for name, own in marks.items()}
    for own in known.values():
        for mark in own[1:]:
            leads[last(mark)] = last(own[0])
    groups: dict[str, list[str]] = {}
    for name, own in known.items():
        groups.setdefault(last(own[0]), []).append(name)
    return [tuple(group) for group in groups.values()]
