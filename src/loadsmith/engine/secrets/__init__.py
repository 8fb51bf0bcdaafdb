"""Put secrets into the environment for a run, and keep them out of everything that leaves it."""

from loadsmith.engine.secrets.environment import (
    active_settings as active_settings,
    is_in_load as is_in_load,
    secrets_in_environment as secrets_in_environment,
)
from loadsmith.engine.secrets.files import (
    UNFILLED as UNFILLED,
    config_files as config_files,
    read_settings as read_settings,
    secret_variables as secret_variables,
    settings_files as settings_files,
    unfilled as unfilled,
    value_at as value_at,
    variables_of as variables_of,
)
from loadsmith.engine.secrets.missing import (
    missing_secret as missing_secret,
    still_open as still_open,
)
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
