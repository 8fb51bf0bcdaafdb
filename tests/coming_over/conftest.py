import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from loadsmith import build_definitions

# The tests of this folder share a module.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., dg.Definitions]:
    """Define a YAML project from the code of a source and the parameters of its only asset."""

    def make(
        code: str, params: Mapping[str, Any], key: str = "shop/orders", **settings: Any
    ) -> dg.Definitions:
        home, module = tmp_path / "odp_config", f"source_{len(sys.modules)}"
        (home / "workflows").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        dlt_resource = {"resource_kind": "dlt", "params": {"project_dir": str(tmp_path)}}
        (home / "dagster_config.yaml").write_text(yaml.safe_dump({"resources": [dlt_resource]}))
        asset = {
            "asset_key": key,
            "task_type": "dlt",
            "params": {"source_module": f"{module}.shop", **params},
            **settings,
        }
        (home / "workflows" / "shop.yaml").write_text(yaml.safe_dump({"assets": [asset]}))
        return build_definitions(home)

    return make
