"""Put secrets into the environment for a run, and keep them out of everything that leaves it."""

from loadsmith.engine.secrets.environment import (
    secret_variables as secret_variables,
    secrets_in_environment as secrets_in_environment,
    variables_of as variables_of,
)
from loadsmith.engine.secrets.missing import missing_secret as missing_secret
from loadsmith.engine.secrets.redaction import (
    PLACEHOLDER as PLACEHOLDER,
    Redactor as Redactor,
    declare_secret as declare_secret,
    errors_without_secrets as errors_without_secrets,
    redacted_logs as redacted_logs,
    redactor_of as redactor_of,
    redactors_of_logs as redactors_of_logs,
)
from loadsmith.engine.secrets.settings import is_secret_name as is_secret_name
