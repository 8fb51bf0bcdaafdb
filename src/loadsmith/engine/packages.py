"""Say which command installs a package that a source imports and that is not installed."""

import os
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

#: Names of packages that are not those of their modules.
_PACKAGES = {
    "bs4": "beautifulsoup4",
    "bson": "pymongo",
    "dateutil": "python-dateutil",
    "facebook_business": "facebook_business",
    "google.ads": "google-ads",
    "google.analytics": "google-analytics-data",
    "google.auth": "google-auth",
    "google.oauth2": "google-auth",
    "googleapiclient": "google-api-python-client",
    "jwt": "PyJWT",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "proto": "proto-plus",
    "psycopg2": "psycopg2-binary",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}


def install_command(
    error: BaseException, module: str | None = None, search_path: str | None = None
) -> str | None:
    """Return ``Install it with `...` `` for an import that failed for a missing package, or None.

    Args:
        error: What the import raised.
        module: The source, whose folder may have a `requirements.txt`.
        search_path: The folder that the source is looked up in.
    """
    # dlt is not imported for a look at the destinations.
    from dlt.common.exceptions import MissingDependencyException

    if isinstance(error, MissingDependencyException):
        packages = list(error.dependencies)
    elif isinstance(error, ModuleNotFoundError) and error.name:
        packages = [_package_of(error.name)]
    else:
        return None
    return f"Install it with `{pip_install(packages, module, search_path)}`"


def pip_install(
    packages: Sequence[str], module: str | None = None, search_path: str | None = None
) -> str:
    """Return the command that installs packages: of a requirements file, or of our own extra."""
    for file in _requirements(module, search_path) if search_path else ():
        return f"pip install -r {file}"
    extras = sorted(filter(None, {_extra_of(package) for package in packages}))
    if len(extras) == len({*map(_plain, packages)}) or (extras and len(packages) == 1):
        return f'pip install "loadsmith[{",".join(extras)}]"'
    return "pip install " + " ".join(
        f'"{package}"' if re.search(r"[^\w.-]", package) else package for package in packages
    )


def _requirements(module: str | None, search_path: str) -> Iterator[str]:
    """Yield the requirements of a source, in its folder or where `dlt init` puts them."""
    folder = Path(search_path)
    own = folder / (module or "").partition(".")[0]
    for file in (own / "requirements.txt", folder / "requirements.txt"):
        if file.is_file():
            yield os.path.relpath(file)


def _package_of(module: str) -> str:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in _PACKAGES:
            return _PACKAGES[name]
    if parts[:2] == ["google", "cloud"]:
        return "-".join(parts[:3])
    return parts[0].replace("_", "-")


def _plain(requirement: str) -> str:
    """Return the name of a requirement without its version, as indexes compare names."""
    name = re.split(r"[\s<>=!~;(]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _extra_of(package: str) -> str | None:
    """Return the extra of loadsmith that brings a package."""
    try:
        own = requires("loadsmith") or []
    except PackageNotFoundError:
        return None
    for requirement in own:
        needed, _, marker = requirement.partition(";")
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", marker)
        # `dlt[s3]` is not brought by what brings dlt.
        names = [needed, package] if "[" in package else [needed.partition("[")[0], package]
        if extra and _plain(names[0]) == _plain(names[1]):
            return extra[1].replace("-", "_")
    return None
