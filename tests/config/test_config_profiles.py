"""Which profile a deployment gets."""

import pytest

from loadsmith.config.profiles import MAX_SUFFIX, ProfileChoice, branch_suffix, choose_profile
from loadsmith.errors import ConfigError

BRANCH = {
    "DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT": "1",
    "DAGSTER_CLOUD_DEPLOYMENT_NAME": "Fix/login-2",
}


def deployed(name: str) -> dict[str, str]:
    return {"DAGSTER_CLOUD_DEPLOYMENT_NAME": name}


@pytest.mark.parametrize(
    ("profiles", "environment", "expected"),
    [
        ((), {}, ProfileChoice()),
        (("dev", "prod"), {}, ProfileChoice("dev")),
        (("prod",), {}, ProfileChoice()),
        (("dev", "prod"), {"LOADSMITH_PROFILE": "prod"}, ProfileChoice("prod")),
        (("dev", "prod"), deployed("prod"), ProfileChoice("prod")),
        (("dev", "production"), deployed("prod"), ProfileChoice("production")),
        (("dev", "staging"), deployed("staging"), ProfileChoice("staging")),
        (("dev", "prod"), BRANCH, ProfileChoice("dev", "_fix_login_2")),
        (("branch", "dev", "prod"), BRANCH, ProfileChoice("branch", "_fix_login_2")),
        (("prod", "staging"), BRANCH, ProfileChoice(None, "_fix_login_2")),
        ((), BRANCH, ProfileChoice(None, "_fix_login_2")),
        (
            ("staging",),
            {**BRANCH, "LOADSMITH_PROFILE": "staging"},
            ProfileChoice("staging", "_fix_login_2"),
        ),
    ],
)
def test_the_environment_chooses_the_profile(profiles, environment, expected):
    assert choose_profile(profiles, environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"LOADSMITH_PROFILE": "prd"},
            "there is no profile 'prd', which LOADSMITH_PROFILE names. Did you mean 'prod'?",
        ),
        (
            {**BRANCH, "LOADSMITH_PROFILE": "prod"},
            ("LOADSMITH_PROFILE is 'prod' on a branch deployment, which never gets production's "
            "profile. Unset it there, or name another profile."),
        ),
        (
            deployed("staging"),
            ("no profile is called like the deployment 'staging'. Add one, or set "
            "LOADSMITH_PROFILE to one of: dev, prod."),
        ),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_made_is_an_error(environment, message):
    with pytest.raises(ConfigError) as caught:
        choose_profile(("dev", "prod"), environment)
    assert str(caught.value) == message


def test_long_branch_names_stay_short_and_apart():
    one, two = (
        branch_suffix("feature/" + "x" * 80 + "1"),
        branch_suffix("feature/" + "x" * 80 + "2"),
    )
    assert one != two
    assert len(one) <= MAX_SUFFIX + 1
