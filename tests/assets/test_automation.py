"""Names become conditions; what is wrong is said with its place."""

import dagster as dg
import pytest

from loadsmith.assets.define import build_automation_condition
from loadsmith.assets.define.automation import automation_names, check_seconds
from loadsmith.errors import ConfigError


def test_dagsters_own_constructors_are_known_by_name():
    assert {"eager", "on_cron", "on_missing", "on_schedule", "missing"} <= set(automation_names())
    assert "any_deps_match" not in automation_names()


@pytest.mark.parametrize("name", ["eager", "on_missing", "missing", "in_progress", "newly_updated"])
def test_a_name_alone_builds_a_condition(name):
    expected = getattr(dg.AutomationCondition, name)()
    assert build_automation_condition(name) == expected


def test_on_cron_is_dagsters_own():
    found = build_automation_condition("on_cron", {"cron_schedule": "@daily"})
    assert found == dg.AutomationCondition.on_cron("@daily")


def test_a_schedule_fires_without_waiting_for_upstream_assets():
    found = build_automation_condition(
        "on_schedule", {"cron_schedule": "@daily", "cron_timezone": "utc"}
    )

    @dg.asset(deps=["never_updated"], automation_condition=found)
    def loaded(): ...

    instance = dg.DagsterInstance.ephemeral()
    from datetime import datetime, timezone

    early = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
    late = datetime(2024, 1, 2, 1, tzinfo=timezone.utc)
    defs = dg.Definitions([loaded])
    first = dg.evaluate_automation_conditions(defs, instance, evaluation_time=early)
    second = dg.evaluate_automation_conditions(
        defs, instance, cursor=first.cursor, evaluation_time=late
    )
    assert second.total_requested == 1


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("eagre", {}, "Did you mean 'eager'"),
        ("on_schedule", {}, "needs 'cron_schedule'"),
        ("on_cron", {"cron_schedule": "now and then"}, r"config\.cron_schedule: 'now and then'"),
        (
            "on_cron",
            {"cron_schedule": "@daily", "cron_timezone": "Utopia"},
            "no time zone 'Utopia'",
        ),
        ("on_cron", {"cron_schedul": "@daily"}, "Did you mean 'cron_schedule'"),
        ("eager", {"cron_schedule": "@daily"}, "'eager' does not take 'cron_schedule'"),
    ],
)
def test_a_mistake_names_the_resource_and_the_close_match(name, config, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_automation_condition(name, config, where="resource 'orders'")
    assert str(caught.value).startswith("resource 'orders', automation_condition")


@pytest.mark.parametrize("value", ["108000", True, 0, -1, float("nan"), None])
def test_a_number_of_seconds_that_is_none_is_an_error(value):
    with pytest.raises(ConfigError, match="no number of seconds"):
        check_seconds(value, where="resource 'orders', freshness")
