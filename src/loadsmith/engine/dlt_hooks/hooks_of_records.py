"""The part of the list of hooks that is about how records are normalized."""

from loadsmith.engine.dlt_hooks.register import Hook

HOOKS_OF_RECORDS = (
    Hook(
        name="records by column",
        target="dlt.normalize.worker:JsonLItemsNormalizer",
        kind="process",
        reason="dlt has no setting for the class that normalizes records, but one in the user's schema",
        on_difference="off",
        lost="Records are normalized by dlt itself, several times slower",
        uses={
            "dlt.normalize.worker:w_normalize_files": "06dab4774f29",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer.__init__": "440035743299",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer.__call__": "43f2a9a1c7d5",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer._normalize_chunk": "5570d325b68e",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer._filter_columns": "745c94b40edb",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer._coerce_row": "95ec1a7d61cd",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer._infer_column": "0e4829dea220",
            "dlt.common.normalizers.json.relational:DataItemNormalizer.__init__": "1e4f8461faa7",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._reset": "88f308157974",
            "dlt.common.normalizers.json.relational:DataItemNormalizer.normalize_data_item": "4a89c2492af7",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._normalize_row": "01af8dc8bc78",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._normalize_list": "c78ded1f7217",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._flatten": "145a658c3ba3",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._add_row_id": "cfdc75342c9d",
            "dlt.common.normalizers.json.relational:DataItemNormalizer._get_propagated_values": "681ed1215eac",
            "dlt.common.normalizers.json.relational:DataItemNormalizer.coerce_type": "7c143b9102d3",
            "dlt.common.normalizers.json.relational:DataItemNormalizer.can_coerce_type": "4d402f91837f",
            "dlt.common.normalizers.json.helpers:shorten_fragments": "c2f5f990e60e",
            "dlt.common.normalizers.json.helpers:normalize_table_identifier": "9e1be3242776",
            "dlt.common.normalizers.json.helpers:normalize_identifier": "36281b11529d",
            "dlt.common.normalizers.json.helpers:get_table_nesting_level": "bd45f8821477",
            "dlt.common.normalizers.json.helpers:is_nested_type": "13131ebf8a5e",
            "dlt.common.normalizers.json.helpers:should_be_nested": "0db9e30f482e",
            "dlt.common.normalizers.json.helpers:get_root_row_id_type": "6c1f7b9170dd",
            "dlt.common.normalizers.json.helpers:get_propagation_mapping": "8fbf6f57a575",
            "dlt.common.normalizers.json.helpers:get_nested_row_hash": "6aa73f5d1da0",
            "dlt.common.normalizers.utils:generate_dlt_id": "42462a73a977",
            "dlt.common.libs.pyarrow:columns_to_arrow": "bab446794768",
            "dlt.common.libs.pyarrow:row_tuples_to_arrow": "9cbfa87cd5cb",
            "dlt.common.json:custom_pua_decode": "19fe61302178",
            "dlt.common.json:custom_pua_decode_nested": "c0d0111faf21",
            "dlt.common.time:normalize_timezone": "6cef01199ce7",
            "dlt.common.time:get_context_timezone_name": "a17b2ddee4ec",
            "dlt.common.schema.schema:Schema._infer_hint": "422ee0ab095c",
            "dlt.common.schema.utils:is_complete_column": "d991dd28ff9e",
            "dlt.common.schema.utils:is_nullable_column": "76443f0f87c7",
            "dlt.common.data_writers.writers:ParquetDataWriter.__init__": "e64639087a4c",
            "dlt.common.data_writers.writers:ParquetDataWriter.write_header": "0a53d77372fc",
            "dlt.common.data_writers.writers:ParquetDataWriter.write_data": "432419d4b1d7",
            "dlt.common.data_writers.buffered:BufferedDataWriter.write_data_item": "3c3fdf33c8ed",
            "dlt.common.data_writers.buffered:BufferedDataWriter._flush_items": "7755b9f48a07",
            "dlt.common.data_writers.buffered:BufferedDataWriter._rotate_file": "0b1df40aee28",
            "dlt.common.storages.data_item_storage:DataItemStorage._get_writer": "cabf898f58b9",
            "dlt.common.storages.data_item_storage:DataItemStorage.write_data_item": "fdfc9d633fd5",
            "dlt.normalize.items_normalizers.base:ItemsNormalizer._report_progress": "a8def13540c5",
        },
        reads={
            "dlt.normalize.worker": "JsonLItemsNormalizer",
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer": (
                "_column_schemas _filtered_tables _filtered_tables_columns _null_only_columns "
                "_timezone_override"
            ),
            "dlt.common.normalizers.json.relational:DataItemNormalizer": (
                "_normalize_identifier _normalize_table_identifier _shorten_fragments "
                "_get_root_row_id_type _get_table_nesting_level _should_be_nested "
                "_is_nested_type _get_propagation_mapping"
            ),
            "dlt.common.schema.schema:Schema": "_compiled_excludes",
            "dlt.common.data_writers.buffered:BufferedDataWriter": "_buffered_items_count",
        },
    ),
    Hook(
        name="ids of nested rows",
        target="dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer._normalize_chunk",
        kind="subclass",
        reason="dlt gives nested rows of two packages the same ids where records bring their own",
        on_difference="error",
        lost="Nested rows of a dead load may stay",
        uses={
            "dlt.common.normalizers.json.relational:DataItemNormalizer._add_row_id": "cfdc75342c9d"
        },
        reads={
            "dlt.normalize.items_normalizers.jsonl:JsonLItemsNormalizer": "_normalize_chunk",
            "dlt.common.normalizers.json.relational:DataItemNormalizer": (
                "_normalize_identifier _normalize_table_identifier _get_root_row_id_type"
            ),
        },
    ),
)
