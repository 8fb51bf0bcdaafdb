"""Let a load fail if one of its jobs fails, whatever dlt's settings say."""

import contextlib
from collections.abc import Iterator
from typing import Any

from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.utils import deserialize_value

from loadsmith.engine.dlt_hooks.providers import provider_in_block, providers

_KEY = "raise_on_failed_jobs"


class _FailedJobsRaise(ConfigProvider):
    """Answers for one setting before all other providers, and takes note of what they say."""

    overruled = False
    name = "loadsmith: failed jobs"
    supports_secrets = False
    supports_sections = True

    def get_value(
        self, key: str, hint: Any, pipeline_name: str | None, *sections: str
    ) -> tuple[Any, str]:
        """Return True for `raise_on_failed_jobs`."""
        if key != _KEY:
            return None, key
        # dlt would look in the same places, the most special one first.
        places = [sections[:end] for end in range(len(sections), -1, -1)]
        for other in providers():
            if isinstance(other, _FailedJobsRaise):
                continue
            for name in dict.fromkeys((pipeline_name, None)):
                for place in places:
                    value, _ = other.get_value(key, hint, name, *place)
                    self.overruled |= _is_false(value)
        return True, key


def _is_false(value: Any) -> bool:
    """Tell whether dlt reads a value as False; what is no boolean is an error of its own."""
    with contextlib.suppress(Exception):
        return value is not None and deserialize_value(_KEY, value, bool) is False
    return False


@contextlib.contextmanager
def failed_jobs_raise() -> Iterator[_FailedJobsRaise]:
    """Overrule `load.raise_on_failed_jobs` in the block; yields whether there was anything to.

    With that setting, dlt counts a package as loaded although rows of it are missing.
    """
    provider = _FailedJobsRaise()
    with provider_in_block(provider, before=lambda _other: True):
        yield provider
