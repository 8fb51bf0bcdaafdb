"""Load once by hand and write the schema file: `python -m github.pipeline`, in `dlt_project`."""

import dlt

from github.source import github_source

if __name__ == "__main__":
    pipeline = dlt.pipeline(
        pipeline_name="github",
        destination=dlt.destinations.duckdb("../data/github.db"),
        dataset_name="github_data",
        export_schema_path="schemas/export",
    )
    # The newest pages are enough to know the columns.
    source = github_source(repo="dagster-io/dagster").add_limit(2)
    print(pipeline.run(source, loader_file_format="parquet"))
