"""Let a provider answer dlt's questions for settings during a block."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

_to_change = threading.Lock()


def providers() -> Sequence[ConfigProvider]:
    """Return the providers of settings, in the order in which dlt asks them."""
    return Container()[PluggableRunContext].providers.providers


@contextlib.contextmanager
def provider_in_block(
    provider: ConfigProvider, before: Callable[[ConfigProvider], bool] = lambda _other: False
) -> Iterator[None]:
    """Let dlt ask a provider in the block: before the first other that is `before`, or as the last.

    What is registered publicly is asked last, and cannot be removed again.
    """
    context = Container()[PluggableRunContext].providers
    # Another thread may be going through the list, so it is replaced and not changed.
    with _to_change:
        others = context.providers
        at = next((at for at, other in enumerate(others) if before(other)), len(others))
        context.providers = [*others[:at], provider, *others[at:]]
    try:
        yield
    finally:
        with _to_change:
            context.providers = [other for other in context.providers if other is not provider]
