"""Pipelines that functions make, where other processes make the same ones."""

import errno

import dlt
import pytest

from loadsmith.engine.sources import make_pipeline


@pytest.mark.parametrize("stumbles_twice", [False, True])
def test_a_pipeline_is_made_again_where_another_process_fills_its_folder(tmp_path, stumbles_twice):
    left = [1, 1]

    def make():
        if left:
            left.pop()
            try:
                raise OSError(errno.ENOTEMPTY, "Directory not empty")
            except OSError:
                if not stumbles_twice:
                    raise
                # As dlt does, which puts back the state of a pipeline that is not there yet.
                return None.live_schemas
        return dlt.pipeline("shop", destination="duckdb", pipelines_dir=str(tmp_path))

    made = make_pipeline(make)
    made.deactivate()
    assert made.pipeline_name == "shop"


def test_a_mistake_in_the_function_is_told_at_once():
    calls = []

    def mistaken():
        calls.append(1)
        return dlt.no_such_name

    with pytest.raises(AttributeError, match="no_such_name"):
        make_pipeline(mistaken)
    assert calls == [1]
