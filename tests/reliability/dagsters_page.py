"""Dagster's webserver over a load of this folder, asked as its page asks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import killing
from killing import Shop
from watching import wait_until

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

DAGSTER_YAML = """
telemetry: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: DefaultRunCoordinator
"""

JOB = "__ASSET_JOB"

#: Seconds that Dagster gets to start, and a run to get somewhere.
PATIENCE = 120


def make_definitions() -> dg.Definitions:
    """Make what the server loads: the batch and the point to halt at are read in each run."""
    folder = Path(os.environ["PAGE"])
    destination, dataset, machine = (folder / "shop").read_text().split()
    shop = Shop(folder, destination, dataset, machine=machine)

    def halt(point: str) -> None:
        path = shop.folder / "halt"
        if path.is_file() and point and path.read_text() == point:
            # Who waits for it kills this process, or the one that has started it.
            (shop.folder / "halted").write_text(f"{os.getpid()} {os.getppid()}")
            time.sleep(600)

    def make_source() -> Any:
        killing.with_points(halt)
        return killing.make_source(shop, 0, halt)

    @dlt_assets(dlt_source=make_source, dlt_pipeline=shop.make_pipeline, name="shop_load")
    def shop_load(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        for event in loads.run(context=context):
            halt("first event")
            yield event

    return dg.Definitions(assets=[shop_load], resources={"loads": DagsterDltResource()})


class Page:
    """A webserver of its own, with a folder of runs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home = folder / "dagster_home"
        self._home.mkdir()
        (self._home / "dagster.yaml").write_text(DAGSTER_YAML)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def __enter__(self) -> "Page":
        folder = Path(__file__).parent
        self.show("duckdb", "nothing")
        python_path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self.folder / "page_log").open("w") as log:
            self._server = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("dagster-webserver")),
                    *("-h", "127.0.0.1", "-p", str(self._port)),
                    *("-f", str(folder / "page_of_loads.py")),
                ],
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(self._home),
                    "PAGE": str(self.folder),
                    "PYTHONPATH": os.pathsep.join(python_path),
                },
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_up, seconds=PATIENCE)
        return self

    def __exit__(self, *_error: object) -> None:
        os.killpg(self._server.pid, signal.SIGINT)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(20)

    def show(self, destination: str, dataset: str) -> Shop:
        """Let the runs that follow load into a dataset, as a machine that knows of no other one."""
        shop = Shop(self.folder, destination, dataset, machine=f"machine_of_{dataset}")
        (self.folder / "shop").write_text(f"{destination} {dataset} {shop.machine}")
        return shop

    def halt_at(self, point: str | None) -> None:
        """Let the runs that follow stop at a point, for ever."""
        (self.folder / "halted").unlink(missing_ok=True)
        (self.folder / "halt").write_text(point or "")

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert not found.get("errors"), found
        return found["data"]

    def launch(self) -> str:
        """Start a run, by the button "Materialize all"."""
        ((name, location),) = self._repositories()
        found = self.ask(
            "mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {"
            " __typename ... on LaunchRunSuccess { run { runId } }"
            " ... on PythonError { message } } }",
            p={
                "selector": {
                    "repositoryLocationName": location,
                    "repositoryName": name,
                    "jobName": JOB,
                },
                "mode": "default",
            },
        )["launchPipelineExecution"]
        assert "run" in found, found
        return str(found["run"]["runId"])

    def launch_from_failure(self, run_id: str) -> str:
        """Start a run again, by the button "From failure"."""
        found = self.ask(
            "mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {"
            " __typename ... on LaunchRunSuccess { run { runId } }"
            " ... on PythonError { message } } }",
            p={"parentRunId": run_id, "strategy": "FROM_FAILURE"},
        )["launchRunReexecution"]
        assert "run" in found, found
        return str(found["run"]["runId"])

    def terminate(self, run_id: str, policy: str = "SAFE_TERMINATE") -> None:
        """Cancel a run, by the button "Terminate"."""
        found = self.ask(
            "mutation($r: String!, $p: TerminateRunPolicy) { terminateRun(runId: $r,"
            " terminatePolicy: $p) { __typename ... on TerminateRunFailure { message }"
            " ... on PythonError { message } } }",
            r=run_id,
            p=policy,
        )["terminateRun"]
        assert found["__typename"] == "TerminateRunSuccess", found

    def status(self, run_id: str) -> str:
        found = self.ask(
            "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }", r=run_id
        )
        return str(found["runOrError"]["status"])

    def wait_for(self, run_id: str, *statuses: str) -> float:
        """Wait until a run has one of the statuses; return the seconds."""
        started = time.monotonic()
        wait_until(lambda: self.status(run_id) in statuses, seconds=PATIENCE)
        return time.monotonic() - started

    def halted(self) -> tuple[int, int]:
        """Wait until a run has halted; return the numbers of its step's process and the parent."""
        path = self.folder / "halted"
        wait_until(lambda: path.is_file() and path.read_text().count(" ") == 1, seconds=PATIENCE)
        child, parent = path.read_text().split()
        return int(child), int(parent)

    def _is_up(self) -> bool:
        assert self._server.poll() is None, (self.folder / "page_log").read_text()
        try:
            return bool(self._repositories())
        except OSError:
            return False

    def _repositories(self) -> list[tuple[str, str]]:
        found = self.ask(
            "{ repositoriesOrError { ... on RepositoryConnection {"
            " nodes { name location { name } } } } }"
        )["repositoriesOrError"]
        return [(node["name"], node["location"]["name"]) for node in found.get("nodes", ())]
