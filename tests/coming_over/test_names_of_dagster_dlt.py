"""Code that names what dagster-dlt has finds it, or an error that says what to write."""

import copy
import json
from typing import Any

import dagster as dg
import dlt
import pytest
from moved import decorated, in_component, in_factory, metadata_of, run

import loadsmith
from loadsmith import (
    DagsterDltResource,
    DagsterDltTranslator,
    DltComponentTranslator,
    DltLoadCollectionComponent,
    build_dlt_asset_specs,
    dlt_assets,
    dlt_load_of,
)
from loadsmith.errors import SelectionError, TranslationError


@dlt.source(name="shop")
def shop():
    yield dlt.resource([{"id": 1}, {"id": 2}], name="orders", write_disposition="append")


def pipeline(name: str = "moved", dataset: str = "web") -> dlt.Pipeline:
    destination = dlt.destinations.duckdb("moved.duckdb")
    return dlt.pipeline(name, destination=destination, dataset_name=dataset)


def key_of(defs: dg.Definitions) -> str:
    (key,) = (spec.key for spec in defs.resolve_all_asset_specs() if "dlt" in spec.kinds)
    return key.to_user_string()


def test_the_names_that_are_imported_are_there() -> None:
    assert loadsmith.META_KEY_SOURCE == "dagster_dlt/source"
    assert loadsmith.META_KEY_PIPELINE == "dagster_dlt/pipeline"
    assert loadsmith.META_KEY_TRANSLATOR == "dagster_dlt/translator"
    assert loadsmith.DltEventType
    assert loadsmith.DltEventIterator


def test_specs_know_their_load_in_a_multi_asset_of_ones_own() -> None:
    source, live = shop(), pipeline()
    translator = DagsterDltTranslator()
    seen = []

    specs = [
        spec.replace_attributes(deps=[], key=spec.key.with_prefix("own"))
        for spec in build_dlt_asset_specs(source, live, translator)
    ]

    @dg.multi_asset(specs=specs, can_subset=True)
    def own(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        seen.append(dlt_load_of(context))
        yield from dlt.run(context=context)

    result = dg.materialize([own], resources={"dlt": DagsterDltResource()})
    (metadata,) = metadata_of(result).values()
    assert metadata["rows_loaded"] == 2
    for known in (*seen, dlt_load_of(own), dlt_load_of(specs[0])):
        assert (known.source, known.pipeline, known.translator) == (source, live, translator)
    # The metadata is plain data all the same.
    assert json.dumps({name: str(value) for name, value in specs[0].metadata.items()})
    assert specs[0].metadata["loadsmith/load"] == "moved"
    assert type(copy.deepcopy(specs[0].metadata["loadsmith/load"])) is str

    both = [*specs, *build_dlt_asset_specs(shop(), pipeline("other", "other"))]

    @dg.multi_asset(specs=both)
    def mixed(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    with pytest.raises(SelectionError, match="2 loads"):
        dlt_load_of(mixed)
    with pytest.raises(SelectionError, match="several loads"):
        dg.materialize([mixed], resources={"dlt": DagsterDltResource()})
    with pytest.raises(SelectionError, match="no load is known"):
        dlt_load_of(dg.AssetSpec("a"))


class Renaming(DltLoadCollectionComponent):
    def get_asset_spec(self, data):
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(
            key=dg.AssetKey(["lake", data.resource.name]),
            metadata={**spec.metadata, "key of super": spec.key.to_user_string()},
        )


class Decorating(Renaming):
    def build_defs(self, context):
        (load,) = self.loads

        @dlt_assets(
            dlt_source=load.source,
            dlt_pipeline=load.pipeline,
            dagster_dlt_translator=DltComponentTranslator(self, load),
        )
        def one(context: dg.AssetExecutionContext) -> Any:
            yield from self.execute(context, self.dlt_pipeline_resource)

        return dg.Definitions(assets=[one])


@pytest.mark.parametrize("kind", [Renaming, Decorating])
def test_a_subclass_of_the_component_gets_the_keys_of_dagster_dlt(kind) -> None:
    defs = in_component(shop(), pipeline(), kind)
    (spec,) = (spec for spec in defs.resolve_all_asset_specs() if "dlt" in spec.kinds)
    assert spec.key.to_user_string() == "web/orders"
    assert spec.metadata["key of super"] == "dlt_shop_orders"

    def translation(spec, _data):
        return spec.replace_attributes(key=spec.key.with_prefix("raw"))

    translated = in_component(shop(), pipeline(), kind, translation=translation)
    assert key_of(translated) == "raw/web/orders"


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("_resolve_back_compat_method", r"self\.get_\.\.\.\(resource\)"),
        ("_default_asset_key_fn", r"super\(\)\.get_asset_key"),
        ("_default_deps_fn", r"super\(\)\.get_deps_asset_keys"),
        ("_default_kinds_fn", r"super\(\)\.get_kinds"),
    ],
)
def test_private_methods_of_the_translator_name_the_public_ones(name, public) -> None:
    with pytest.raises(TranslationError, match=public):
        getattr(DagsterDltTranslator(), name)
    assert not hasattr(DagsterDltTranslator(), "_nothing")


class Extracting(DagsterDltResource):
    def extract_resource_metadata(self, context, resource, load_info, dlt_pipeline):
        metadata = super().extract_resource_metadata(context, resource, load_info, dlt_pipeline)
        tables = sorted(dlt_pipeline.default_schema.data_table_names())
        own = [resource.write_disposition, len(load_info.loads_ids), tables]
        return {**metadata, "own": own}


def test_what_code_reads_after_a_run_is_as_with_dagster_dlt() -> None:
    live = pipeline()

    @dlt_assets(dlt_source=shop(), dlt_pipeline=live)
    def load(context: dg.AssetExecutionContext, dlt: Extracting) -> Any:
        yield from dlt.run(context=context)
        assert sorted(live.default_schema.data_table_names()) == ["orders"]
        assert not live.first_run
        assert live.schema_names == ["shop"]
        assert len(live.dataset().orders.fetchall()) == 2

    result = dg.materialize([load], resources={"dlt": Extracting()})
    (metadata,) = metadata_of(result).values()
    assert metadata["own"] == ["append", 1, ["orders"]]
    (job,) = [record.data for record in metadata["jobs"].records]
    names = {"file_path", "created_at", "elapsed", "file_id", "retry_count", "is_compressed"}
    assert names | {"failed_message", "state", "file_format", "job_id", "table_name"} <= set(job)
    others = {
        column.name: column.constraints.other
        for column in metadata["dagster/column_schema"].columns
    }
    assert others["_dlt_id"] == ["row_key"]
    assert metadata["dagster-dlt/write_disposition"] == "append"
    assert metadata["dagster-dlt/resource"] == "orders"


@pytest.mark.parametrize("make", [decorated, in_component, in_factory])
def test_a_pipeline_shows_the_schema_of_a_partition_too(make) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")
    live = pipeline()
    defs = make(shop(), live, partitions_def=days)
    result = run(
        defs,
        tags={
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-01-02",
        },
    )
    (metadata,) = metadata_of(result).values()
    assert metadata["rows_loaded"] == 2
    assert metadata["rows_loaded_in_all_partitions"] == 2
    if make is not in_factory:
        assert sorted(live.default_schema.data_table_names()) == ["orders"]


def test_static_partitions_have_a_policy_where_a_cursor_needs_one() -> None:
    @dlt.source(name="shop")
    def moving():
        @dlt.resource
        def orders(at=dlt.sources.incremental("id")):
            yield [{"id": 1}]

        return orders

    keys = dg.StaticPartitionsDefinition(["a", "b"])
    for make in (decorated, in_component, in_factory):
        for source, policy in ((shop(), None), (moving(), dg.BackfillPolicy.multi_run(1))):
            defs = make(source, pipeline(), partitions_def=keys)
            graph = defs.resolve_asset_graph()
            key = dg.AssetKey.from_user_string(key_of(defs))
            assert graph.get(key).backfill_policy == policy


def test_a_load_of_a_component_takes_what_multi_asset_takes() -> None:
    seen = []

    class Own(DltLoadCollectionComponent):
        def execute(self, context, dlt_pipeline_resource):
            seen.append(context.op_execution_context.op_config)
            yield from super().execute(context, dlt_pipeline_resource)

    defs = in_component(
        shop(),
        pipeline(),
        Own,
        config_schema={"day": str},
        ins={"before": dg.AssetIn(dg.AssetKey("before"))},
        pool="web",
        retry_policy=dg.RetryPolicy(max_retries=1),
        code_version="7",
    )
    before = dg.Definitions(assets=[dg.asset(name="before")(lambda: None)])
    defs = dg.Definitions.merge(defs, before)
    (spec,) = (spec for spec in defs.resolve_all_asset_specs() if "dlt" in spec.kinds)
    assert dg.AssetKey("before") in {dep.asset_key for dep in spec.deps}
    op = defs.resolve_asset_graph().get(spec.key).assets_def.op
    assert (op.pool, op.retry_policy.max_retries, op.version) == ("web", 1, "7")
    run(defs, run_config={"ops": {op.name: {"config": {"day": "monday"}}}})
    assert seen == [{"day": "monday"}]


def test_a_group_in_two_places_is_an_error() -> None:
    class Grouping(DagsterDltTranslator):
        def get_group_name(self, resource):
            return "own"

    with pytest.raises(dg.DagsterInvariantViolationError, match="Cannot set group_name"):
        decorated(shop(), pipeline(), group_name="other", dagster_dlt_translator=Grouping())
    defs = decorated(shop(), pipeline(), dagster_dlt_translator=Grouping())
    assert {spec.group_name for spec in defs.resolve_all_asset_specs() if spec.kinds} == {"own"}
    # Settings of one resource are more than those of all.
    settings = {"orders": {"group_name": "own"}}
    defs = decorated(shop(), pipeline(), group_name="other", resource_settings=settings)
    groups = {spec.group_name for spec in defs.resolve_all_asset_specs() if spec.kinds}
    assert groups == {"own"}
