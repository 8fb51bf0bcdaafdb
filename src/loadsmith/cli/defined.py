"""Define a module in a process of its own, and write what it defines as JSON.

`python -m loadsmith.cli.defined MODULE FILE [--moved]`: with `--moved`, what the module imports
from dagster-dlt comes from loadsmith.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("dagster_dlt", "dagster_embedded_elt")


class _Moved(MetaPathFinder, Loader):
    """Makes modules of dagster-dlt's names that hand out loadsmith's."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        import loadsmith

        def load_name(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name not in loadsmith.__all__:
                raise ImportError(f"loadsmith has no {name!r}, which {module.__name__} has")
            return getattr(loadsmith, name)

        module.__getattr__ = load_name  # type: ignore[method-assign]  # that is how Python asks
        names = [name for name in loadsmith.__all__ if not name.startswith("__")]
        module.__all__ = names  # type: ignore[attr-defined]  # `import *` reads it


def assets_of(name: str) -> list[Any]:
    """Import a module or a file, and return the assets and specs that it defines.

    Raises:
        ValueError: It defines nothing.
    """
    import dagster as dg

    sys.path.insert(0, str(Path.cwd()))
    path = Path(name)
    if path.suffix == ".py":
        sys.path.insert(0, str(path.resolve().parent))
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = import_module(name)
    values = list(vars(module).values())
    # `@dg.definitions` makes a function that has a `load_fn`.
    made = [value() for value in values if hasattr(value, "load_fn")]
    found = [value for value in (*made, *values) if isinstance(value, dg.Definitions)]
    assets = [asset for one in found for asset in one.assets or ()] or [
        value for value in values if isinstance(value, dg.AssetsDefinition | dg.AssetSpec)
    ]
    if not assets:
        raise ValueError(f"{name} has no dg.Definitions and no assets.")
    return assets


def describe(assets: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return what can be compared of each asset, as plain text by field."""
    described = {}
    pairs = [(one, spec) for one in assets for spec in getattr(one, "specs", (one,))]
    for asset, spec in pairs:
        is_run = getattr(asset, "is_executable", False)
        fields: dict[str, Any] = {
            "op": asset.op.name if is_run else None,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "description": spec.description,
            "kinds": sorted(spec.kinds),
            "tags": dict(spec.tags),
            "owners": list(spec.owners),
            "automation condition": spec.automation_condition,
            "partitions": spec.partitions_def,
            "backfill policy": asset.backfill_policy if is_run else None,
        }
        fields.update(
            (f"metadata {name}", getattr(value, "value", value))
            for name, value in spec.metadata.items()
        )
        described[spec.key.to_user_string()] = {
            name: None if value is None else _text(value) for name, value in fields.items()
        }
    return described


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in sorted(value.items())) or "none"
    if type(value).__module__.partition(".")[0] == "dlt":
        return f"the live {type(value).__name__}"
    # Two processes have their objects at different places.
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def main(arguments: Sequence[str]) -> None:
    """Define the module, and write what it defines."""
    name, file, *flags = arguments
    if "--moved" in flags:
        sys.meta_path.insert(0, _Moved())
    Path(file).write_text(json.dumps(describe(assets_of(name))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
