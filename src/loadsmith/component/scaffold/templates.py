"""The texts of the files that the scaffolder writes; `<name>` stands for a value."""

DEFS_YAML = """\
type: <type>

attributes:
"""

REFERENCED_LOADS = """\
  loads:
    - source: .loads.my_load_source
      pipeline: .loads.my_load_pipeline
"""

LOADS_PY = '''\
"""What the component of this folder loads, and where to.<note>"""

import dlt


@dlt.resource(primary_key="id", write_disposition="merge")
def greetings():
    """Greetings by language; replace it by rows of yours."""
    yield [
        {"id": 1, "language": "en", "text": "hello, world!"},
        {"id": 2, "language": "de", "text": "hallo, Welt!"},
    ]


@dlt.source
def my_source():
    return greetings


my_load_source = my_source()

my_load_pipeline = dlt.pipeline(
    pipeline_name="<name>",
    destination="<destination>",
    dataset_name="<name>_data",
)
'''

PYTHON_COMPONENT = '''\
"""The loads of this folder as a component, in Python."""

import dagster as dg

from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> DltLoadCollectionComponent:
    return DltLoadCollectionComponent(
        loads=[
            DltLoadSpecModel(
                source=".loads.my_load_source",
                pipeline=".loads.my_load_pipeline",
            )
        ]
    )
'''

_REST_API = """\
  loads:
    # All of a REST API without Python. The reference of `source_params` is dlt's own of
    # rest_api_source; rest_api_pipeline.py is dlt's example. Secrets are named, not written:
    #   client: {auth: {type: bearer, token: "{{ env.API_TOKEN }}"}}
    - source_module: rest_api
      source_params:
        client:
          base_url: https://pokeapi.co/api/v2/
        resource_defaults:
          write_disposition: replace
          endpoint:
            params:
              limit: 1000
        resources:
          - pokemon
          - berry
          - location
      destination: <destination>
      pipeline_params:
        pipeline_name: <name>
        dataset_name: <name>_data
"""

_SQL_DATABASE = """\
  loads:
    # The tables of a database without Python. dlt finds the credentials in the environment, by
    # the names in .env.example; one URL in SOURCES__SQL_DATABASE__CREDENTIALS does as well.
    # Which tables there are is asked once: `dg utils refresh-defs-state` writes tables.json.
    - source_module: sql_database
      resources: ["*"]
      destination: <destination>
      pipeline_params:
        pipeline_name: <name>
        dataset_name: <name>_data
      snapshot_path: tables.json
"""

_FILESYSTEM = """\
  loads:
    # The files of a folder or a bucket without Python; `bucket_url` may be s3://..., gs://...,
    # az://... or a folder, and credentials come from the environment as .env.example names them.
    - source_module: filesystem.readers
      source_params:
        bucket_url: "{{ context.project_root }}/data"
        file_glob: "**/*.csv"
      resources: [read_csv]
      destination: <destination>
      pipeline_params:
        pipeline_name: <name>
        dataset_name: <name>_data
"""

DECLARED_LOADS = {
    "filesystem": _FILESYSTEM,
    "rest_api": _REST_API,
    "sql_database": _SQL_DATABASE,
}
"""Bodies of `attributes` for dlt's core sources, which need no Python at all."""
