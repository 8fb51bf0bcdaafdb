"""What a source asks for by `dg.Failure` and `dg.RetryRequested` is what happens."""

import dagster as dg
import dlt
import pytest
from moved import decorated, in_component, in_factory, run

CALLS: list[int] = []


def shop(error: Exception, *, in_transformer: bool = False):
    @dlt.source(name="shop")
    def source():
        @dlt.resource
        def orders():
            CALLS.append(1)
            yield [{"id": 1}]
            if not in_transformer:
                raise error from ValueError("root")

        @dlt.transformer(data_from=orders)
        def lines(page):
            raise error

        @dlt.resource
        def users():
            yield [{"id": 1}]

        return (orders, lines, users) if in_transformer else (orders, users)

    return source()


def pipeline():
    return dlt.pipeline(
        "failing", destination=dlt.destinations.duckdb("failing.duckdb"), dataset_name="web"
    )


@pytest.fixture(autouse=True)
def no_calls_yet():
    CALLS.clear()


@pytest.mark.parametrize(
    ("door", "in_transformer"),
    [("decorator", True), ("factory", False), ("decorator keeps others", False)],
)
def test_a_failure_that_allows_no_retry_is_not_tried_again(
    door, in_transformer, monkeypatch
) -> None:
    monkeypatch.setenv("CRM_PASSWORD", "open sesame 17")
    metadata = {"who": "crm", "url": dg.MetadataValue.url("https://a.b"), "said": "open sesame 17"}
    error = dg.Failure("token revoked", metadata=metadata, allow_retries=False)
    source = shop(error, in_transformer=in_transformer)
    make = in_factory if door == "factory" else decorated
    options = {"on_error": "keep"} if door.endswith("others") else {}
    defs = make(source, pipeline(), retry_policy=dg.RetryPolicy(max_retries=2), **options)
    result = run(defs, fails=True)
    assert len(CALLS) == 1
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    data = failed.event_specific_data.user_failure_data
    assert "token revoked" in data.description or options
    assert data.metadata["who"].value == "crm"
    assert data.metadata["url"] == dg.MetadataValue.url("https://a.b")
    assert "sesame" not in str(data)
    assert data.metadata["stage"].value == "extract"


@pytest.mark.parametrize("door", ["decorator", "component", "keep"])
def test_a_requested_retry_is_one_without_a_retry_policy(door) -> None:
    source = shop(dg.RetryRequested(max_retries=1, seconds_to_wait=0))
    make = {"component": in_component, "factory": in_factory}.get(door, decorated)
    defs = make(source, pipeline(), **({"on_error": "keep"} if door == "keep" else {}))
    result = run(defs, fails=True)
    assert len(CALLS) == 2
    assert sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events) == 1
