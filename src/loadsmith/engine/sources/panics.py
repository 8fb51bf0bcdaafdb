"""Turn panics of native extensions into errors.

A panic is raised as a `BaseException`, past everything that handles a failed resource.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PanicError(RuntimeError):
    """A native extension panicked while rows were read."""


def _panic_error(text: str) -> Exception:
    return PanicError(f"a native extension of the source panicked: {text}")


@contextmanager
def panics_as_errors(make_error: Callable[[str], Exception] = _panic_error) -> Iterator[None]:
    """Raise what `make_error` makes of the text of a panic in the block.

    What interrupts a process or closes a generator is left alone, and so is what Dagster raises to
    end a run.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as panic:
        if type(panic).__module__.partition(".")[0] == "dagster":
            raise
        # Whoever shows the text shortens it, when its secrets are gone.
        raise make_error(str(panic).strip() or type(panic).__name__) from None
