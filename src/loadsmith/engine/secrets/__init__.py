"""Put secrets into the environment for a run, and keep them out of everything that leaves it."""

from loadsmith.engine.secrets.environment import (
    missing_secret as missing_secret,
    secrets_in_environment as secrets_in_environment,
)
from loadsmith.engine.secrets.redaction import (
    Redactor as Redactor,
    is_secret_name as is_secret_name,
    redacted_logs as redacted_logs,
    redactor_of as redactor_of,
)
