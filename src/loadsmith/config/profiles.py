"""Choose the profile of this deployment from environment variables.

A branch deployment never gets the profile or the dataset of production: its datasets and pipelines
carry the name of the branch, whatever its profile.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.names import words

PROFILE_VARIABLE = "LOADSMITH_PROFILE"
DEPLOYMENT_VARIABLE = "DAGSTER_CLOUD_DEPLOYMENT_NAME"
BRANCH_VARIABLE = "DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT"

PRODUCTION_NAMES = ("prod", "production")
"""Profiles of production; Dagster calls the first full deployment `prod`."""

DEVELOPMENT_NAMES = ("dev", "development", "local")
"""Profiles for a developer's machine."""

BRANCH_NAMES = ("branch", "preview", *DEVELOPMENT_NAMES)
"""Profiles for branch deployments; the first existing one is taken. `staging` is not among them,
because its dataset belongs to another deployment."""

MAX_SUFFIX = 24
"""Characters of a suffix; the shortest limit of a destination's names is 63 for all of it."""


@dataclass(frozen=True)
class ProfileChoice:
    """The profile of this deployment.

    Attributes:
        name: The profile, or None if loads stay as they are written.
        suffix: Suffix of datasets and pipelines on branch deployments; empty elsewhere.
    """

    name: str | None = None
    suffix: str = ""


def choose_profile(profiles: Collection[str], environment: Mapping[str, str]) -> ProfileChoice:
    """Choose one of `profiles` by `LOADSMITH_PROFILE`, else by the name of the deployment.

    Raises:
        ConfigError: The variable names a profile that does not exist, or production's on a
            branch; or a full deployment has profiles, but none of its name.
    """
    deployment = environment.get(DEPLOYMENT_VARIABLE, "")
    is_branch = environment.get(BRANCH_VARIABLE, "").lower() in ("1", "true", "yes")
    suffix = branch_suffix(deployment or "branch") if is_branch else ""
    asked = environment.get(PROFILE_VARIABLE)
    if not profiles:
        return ProfileChoice(suffix=suffix)
    if asked:
        return ProfileChoice(_find_asked(asked, profiles, is_branch=is_branch), suffix)
    if is_branch:
        return ProfileChoice(_first(BRANCH_NAMES, profiles), suffix)
    if not deployment:
        return ProfileChoice(_first(DEVELOPMENT_NAMES, profiles))
    wanted = PRODUCTION_NAMES if deployment.lower() in PRODUCTION_NAMES else (deployment,)
    profile = _first(wanted, profiles)
    if profile is None:
        raise ConfigError(
            f"no profile is called like the deployment {deployment!r}. Add one, or set "
            f"{PROFILE_VARIABLE} to one of: {', '.join(sorted(profiles))}."
        )
    return ProfileChoice(profile)


def branch_suffix(deployment: str) -> str:
    """Return `_` and the deployment's name in a short, unique form that destinations accept."""
    name = words(deployment.lower()) or "branch"
    if len(name) > MAX_SUFFIX:
        digest = blake2b(deployment.encode(), digest_size=4).hexdigest()
        name = f"{name[: MAX_SUFFIX - len(digest) - 1].rstrip('_')}_{digest}"
    return f"_{name}"


def _find_asked(asked: str, profiles: Collection[str], *, is_branch: bool) -> str:
    if is_branch and asked.lower() in PRODUCTION_NAMES:
        raise ConfigError(
            f"{PROFILE_VARIABLE} is {asked!r} on a branch deployment, which never gets "
            "production's profile. Unset it there, or name another profile."
        )
    if asked not in profiles:
        raise ConfigError(
            f"there is no profile {asked!r}, which {PROFILE_VARIABLE} names."
            f"{did_you_mean(asked, profiles)}"
        )
    return asked


def _first(names: tuple[str, ...], profiles: Collection[str]) -> str | None:
    by_name = {profile.lower(): profile for profile in profiles}
    return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)
