"""What `loadsmith init` can start from: sources with something to load, and destinations."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceStarter:
    """A source that a new project begins with.

    Attributes:
        title: What it is, in the words of the question that `init` asks.
        prefix: First part of the asset keys, name of the dataset and of the schema file.
        module: `source_module` in the YAML layout.
        resources: Resources with a description each; each is an entry of `assets`.
        tables: All tables that come of them.
        params: Lines of `source_params`, without indentation.
        extra: Extra of the package that the source needs, or None.
        files: Files of the project, by the template that they are made from.
        next_steps: What the README says about putting one's own data in.
    """

    name: str
    title: str
    prefix: str
    module: str
    resources: dict[str, str]
    tables: tuple[str, ...]
    params: str = ""
    extra: str | None = None
    files: dict[str, str]
    next_steps: str


@dataclass(frozen=True, kw_only=True)
class DestinationStarter:
    """A destination that a new project loads into.

    Attributes:
        params: Lines of YAML that choose it, without indentation.
        secrets: Lines of `secrets.toml.example`, empty where no secret is needed.
    """

    name: str
    title: str
    params: str
    extra: str | None = None
    secrets: str = ""


SOURCES = {
    starter.name: starter
    for starter in (
        SourceStarter(
            name="python",
            title="a Python function of your own",
            prefix="shop",
            module="shop.source.shop",
            resources={"customers": "Everybody who ever ordered", "orders": "Orders and items"},
            tables=("customers", "orders", "orders__items"),
            params="order_count: 100",
            files={"shop/__init__.py": "empty", "shop/source.py": "sources/python/source.py"},
            next_steps="`{code}/shop/source.py` makes the rows up. Put your own code there.",
        ),
        SourceStarter(
            name="rest_api",
            title="a REST API, described in YAML",
            prefix="jsonplaceholder",
            module="rest_api",
            resources={"users": "Users of the API", "posts": "Posts of the users"},
            tables=("users", "posts"),
            params="""\
# What dlt's rest_api takes: https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api
client:
  base_url: https://jsonplaceholder.typicode.com
  # auth: {type: bearer, token: "{{env.API_TOKEN}}"}
  # paginator: {type: header_link}   # dlt finds most ways of paging by itself
resource_defaults:
  primary_key: id
resources:
  - name: users
    endpoint: {path: users}
  - name: posts
    endpoint: {path: posts}""",
            files={},
            next_steps=(
                "The API is described in `{yaml}`: change `base_url`, the resources and the "
                "paging, then run `loadsmith schema` for each asset."
            ),
        ),
        SourceStarter(
            name="sql_database",
            title="tables of a database",
            prefix="shopdb",
            module="sql_database",
            resources={"customers": "Customers", "orders": "Orders"},
            tables=("customers", "orders"),
            params="""\
# A sample beside this project; relative to the folder that Dagster is started in. For your own
# database take this line out and put its address, which holds a password, into secrets.toml.
credentials: sqlite:///sample/sample.db
table_names: [customers, orders]""",
            extra="sql_database",
            files={"../sample/make_sample.py": "sources/sql_database/make_sample.py"},
            next_steps=(
                "The address of your own database goes into `secrets.toml`, its tables into "
                "`{yaml}`; then run `loadsmith schema` for each asset."
            ),
        ),
        SourceStarter(
            name="filesystem",
            title="files of a folder or bucket",
            prefix="files",
            module="files.source.files",
            resources={"customers": "Rows of the files customers*.csv"},
            tables=("customers",),
            extra="filesystem",
            files={
                "files/__init__.py": "empty",
                "files/source.py": "sources/filesystem/source.py",
                "files/sample/customers.csv": "sources/filesystem/customers.csv",
            },
            next_steps=(
                "`{code}/files/source.py` reads the files of `{code}/files/sample`. Give another "
                "`bucket_url` in `source_params`, and a resource for each kind of file."
            ),
        ),
    )
}

DESTINATIONS = {
    starter.name: starter
    for starter in (
        DestinationStarter(
            name="duckdb",
            title="DuckDB, a file of this project",
            params="destination: duckdb\ndestination_params:\n  database: data/warehouse.duckdb",
        ),
        DestinationStarter(
            name="postgres",
            title="PostgreSQL",
            extra="postgres",
            params="destination: postgres   # its address is in secrets.toml",
            secrets=(
                "[destination.postgres]\n"
                'credentials = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"'
            ),
        ),
        DestinationStarter(
            name="bigquery",
            title="BigQuery",
            extra="bigquery",
            params=(
                "destination: bigquery   # its key is in secrets.toml\n"
                "destination_params:\n  location: EU"
            ),
            secrets=(
                "[destination.bigquery.credentials]\n"
                'project_id = "PROJECT"\n'
                'private_key = "-----BEGIN PRIVATE KEY-----"\n'
                'client_email = "NAME@PROJECT.iam.gserviceaccount.com"'
            ),
        ),
        DestinationStarter(
            name="snowflake",
            title="Snowflake",
            extra="snowflake",
            params="destination: snowflake   # its account is in secrets.toml",
            secrets=(
                "[destination.snowflake.credentials]\n"
                'host = "ACCOUNT"\nusername = "USER"\npassword = "PASSWORD"\n'
                'database = "DATABASE"\nwarehouse = "WAREHOUSE"\nrole = "ROLE"'
            ),
        ),
        DestinationStarter(
            name="filesystem",
            title="parquet files in a folder or bucket",
            extra="filesystem",
            params="destination: filesystem\ndestination_params:\n  bucket_url: data/lake",
            secrets=(
                "# Only for a bucket, such as bucket_url: s3://bucket/folder\n"
                "[destination.filesystem.credentials]\n"
                'aws_access_key_id = "KEY"\naws_secret_access_key = "SECRET"'
            ),
        ),
    )
}

LAYOUTS = {
    "odp": "YAML files in odp_config/, and Python only where a source needs it",
    "dg": "a Dagster project for `dg`, with loadsmith's component",
}
