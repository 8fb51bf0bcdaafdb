"""Kill loads at random moments, run them again, and compare the destination with a good run.

    python -m bench.kills --destination duckdb --trials 30
    python -m bench.kills --destination postgres --processes 32 --trials 3
    python -m bench.kills --destination postgres --stop --trials 100
    python -m bench.kills --destination postgres --twice --trials 100
    python -m bench.kills --destination postgres --reload --trials 100
    python -m bench.kills --destination postgres --celery --trials 100

Each trial loads an append, a merge and a replace resource, all with nested rows, into a dataset of
its own, in one or more processes of which each loads a partition. The processes are killed with
SIGKILL at random moments and started again until each has ended well. What each process was at
when it was killed is counted, by what it left in its working directory.

With `--stop`, a process is stopped at a random moment (SIGSTOP), its run is given up, another
machine runs it again, and the process goes on at a random moment. With `--twice`, two machines are
given the same run, and in half of the trials the first of them stands still for longer than its
lease.

With `--reload`, two partitions are loaded, then the source changes, and the processes that load the
first partition again are killed.

With `--celery`, steps run on two workers of Celery: a run is terminated, or the process of a run or
of a step is killed, and the run is made again.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import duckdb

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.define import live_definition
from loadsmith.assets.run import DagsterDltResource
from loadsmith.engine.run import run_load
from loadsmith.errors import LoadsmithError
from loadsmith.model import RunRequest

MARIADB = os.environ.get("BENCH_MARIADB", "mysql+pymysql://root@127.0.0.1:3306")
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres:x@127.0.0.1:5432/postgres")

#: Rows that a partition has more of when it is loaded again.
LATER = 7

#: Longest time that a trial may take, in seconds.
PATIENCE = 900


@dataclass(frozen=True)
class Trial:
    """One dataset, and the size of what each process loads into it.

    Attributes:
        round: 0 where no partition is loaded twice; else how often the source has changed, and one.
    """

    folder: Path
    destination: str
    dataset: str
    rows: int
    processes: int
    round: int = 0

    @property
    def has_partitions(self) -> bool:
        """Whether each process loads a partition."""
        return self.processes > 1 or self.round > 0

    def make_destination(self) -> Any:
        """Make the dlt destination."""
        if self.destination == "duckdb":
            return dlt.destinations.duckdb(str(self.folder / "kills.duckdb"))
        if self.destination == "postgres":
            return dlt.destinations.postgres(POSTGRES)
        if self.destination == "mariadb":
            return dlt.destinations.sqlalchemy(f"{MARIADB}/{self.dataset}")
        return dlt.destinations.filesystem((self.folder / "files").as_uri())

    def count(self, table: str, key: str) -> tuple[int, int]:
        """Return the rows and the distinct keys of a table."""
        name = f'"{self.dataset}"."{table}"'
        query = f"SELECT count(*), count(DISTINCT {key}) FROM {name}"
        if self.destination == "postgres":
            import psycopg2

            connection = psycopg2.connect(POSTGRES)
            cursor = connection.cursor()
            cursor.execute(query)
            found = cursor.fetchone()
            connection.close()
            return found
        if self.destination == "mariadb":
            with connect_to_mariadb() as connection:
                return tuple(connection.exec_driver_sql(query.replace('"', "`")).one())
        if self.destination == "duckdb":
            with duckdb.connect(str(self.folder / "kills.duckdb")) as connection:
                return connection.execute(query).fetchone()
        files = self.folder / "files" / self.dataset / table / "*.parquet"
        return duckdb.sql(query.replace(name, f"read_parquet('{files}')")).fetchone()

    def prepare(self) -> None:
        """Make what has to be there before the first load."""
        if self.destination == "mariadb":
            with connect_to_mariadb() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {self.dataset}")

    def stage(self, number: int) -> str:
        """Say what a process was at, from what it has left in its working directory."""
        home = self.folder / "pipelines"
        name = "kills"
        if self.has_partitions:
            # Only the folder of this one: those that run on remove theirs meanwhile.
            name = f".loadsmith/*/{number}_*/kills__{number}_*"
        if next(home.glob(f"{name}/load/normalized/*"), None):
            return "load"
        if next(home.glob(f"{name}/normalize/extracted/*"), None):
            return "normalize"
        return "before or after"

    def clean(self) -> None:
        """Remove the dataset and the folder."""
        if self.destination == "mariadb":
            with connect_to_mariadb() as connection:
                found = connection.exec_driver_sql(f"SHOW DATABASES LIKE '{self.dataset}%%'")
                for (name,) in found.all():
                    connection.exec_driver_sql(f"DROP DATABASE {name}")
        if self.destination == "postgres":
            import psycopg2

            connection = psycopg2.connect(POSTGRES)
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(
                "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s",
                (self.dataset + "%",),
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f'DROP SCHEMA "{name}" CASCADE')
            connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def connect_to_mariadb() -> Any:
    """Open a connection to the server, in which each statement is committed."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(MARIADB, isolation_level="AUTOCOMMIT")
    return engine.connect()


def write_to(path: Path) -> None:
    """Let this process write into a file."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)


def make_source(trial: Trial, number: int) -> Any:
    """Make the function that makes the source of one process."""
    # The source has other rows, and more of them, when a partition is loaded again.
    first = number * trial.rows + trial.round * 1_000_000
    count = trial.rows + (LATER if trial.round > 1 else 0)

    @dlt.source(name="shop")
    def shop():
        def pages():
            for start in range(first, first + count, 500):
                end = min(start + 500, first + count)
                yield [{"id": n, "items": [{"k": 1}, {"k": 2}]} for n in range(start, end)]

        resources = [dlt.resource(pages, name="appended", write_disposition="append")]
        if not trial.round:
            resources.append(
                dlt.resource(pages, name="merged", write_disposition="merge", primary_key="id")
            )
        if trial.processes == 1:
            # Partitions that replace one table would replace one another's rows.
            resources.append(dlt.resource(pages, name="replaced", write_disposition="replace"))
        return resources

    return shop


def attempt(trial: Trial, run_id: str, root_run_id: str, machine: str, lease: float) -> None:
    """Load as a run that Dagster knows by what is in a file; the life of a process."""
    write_to(trial.folder / f"log of {run_id} on {machine}")
    os.environ["LOADSMITH_LEASE_SECONDS"] = str(lease)

    def make_pipeline() -> Any:
        return dlt.pipeline(
            "kills",
            destination=trial.make_destination(),
            dataset_name=trial.dataset,
            pipelines_dir=str(trial.folder / machine),
        )

    def outcome_of(asked: str) -> str:
        path = trial.folder / f"outcome of {asked}"
        return path.read_text() if path.exists() else "running"

    def log(line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)

    definition = live_definition(make_source(trial, 0), make_pipeline)
    request = RunRequest(
        run_id=run_id, root_run_id=root_run_id, outcome_of=outcome_of, log=log, warn=log
    )
    try:
        with run_load(definition, request):
            pass
    except LoadsmithError as error:
        log(str(error))
        os._exit(1)
    os._exit(0)


def run_stopped(
    trial: Trial, chance: random.Random, *, longest: float, is_twice: bool
) -> tuple[Counter[str], int, str]:
    """Run one trial with `--stop` or `--twice`; see `run_trial`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.kills"])
    stands_still = not is_twice or chance.random() < 0.5
    lease = max(1.0, longest / 4) if is_twice else 60.0
    second = "first" if is_twice else "second"

    def start(run_id: str, machine: str) -> Any:
        process = context.Process(target=attempt, args=(trial, run_id, "first", machine, lease))
        process.start()
        return process

    one = start("first", "m0")
    time.sleep(chance.uniform(0, longest))
    killed: Counter[str] = Counter()
    if stands_still and one.is_alive():
        os.kill(one.pid, signal.SIGSTOP)
        killed["stop"] += 1
        if not is_twice:
            (trial.folder / "outcome of first").write_text("failed")
    other = start(second, "m1")
    # A database with one writer is not free before whoever has it goes on.
    other.join(chance.uniform(0, 2 * longest) + (lease if is_twice else 0))
    if one.is_alive():
        os.kill(one.pid, signal.SIGCONT)
    for process in (one, other):
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            return killed, 0, "it does not end"
    failed = int(other.exitcode != 0 and not (is_twice and one.exitcode == 0))
    return killed, failed, problems_of(trial)


def load(trial: Trial, number: int) -> None:
    """Load one partition as a run of Dagster; the life of a process."""
    write_to(trial.folder / f"log{number}")
    keys = dg.StaticPartitionsDefinition([str(n) for n in range(max(2, trial.processes))])

    @dlt_assets(
        dlt_source=make_source(trial, number),
        dlt_pipeline=lambda: dlt.pipeline(
            "kills",
            destination=trial.make_destination(),
            dataset_name=trial.dataset,
            pipelines_dir=str(trial.folder / "pipelines"),
        ),
        name="load",
        partitions_def=keys if trial.has_partitions else None,
    )
    def load_shop(context: dg.AssetExecutionContext, loads: DagsterDltResource):
        # What the run is given is what the partition holds.
        source = make_source(trial, number)() if trial.round else None
        yield from loads.run(context=context, dlt_source=source)

    with dg.DagsterInstance.local_temp(str(home_of(trial, number))) as instance:
        result = dg.materialize(
            [load_shop],
            resources={"loads": DagsterDltResource()},
            partition_key=str(number) if trial.has_partitions else None,
            instance=instance,
            raise_on_error=False,
        )
    os._exit(0 if result.success else 1)


def home_of(trial: Trial, number: int) -> Path:
    """Return the folder of Dagster's runs of one process."""
    home = trial.folder / f"home{number}-{trial.round}"
    home.mkdir(exist_ok=True)
    return home


def has_ended_well(trial: Trial, number: int) -> bool:
    """Tell whether Dagster knows that the step of the last run has succeeded."""
    with dg.DagsterInstance.local_temp(str(home_of(trial, number))) as instance:
        runs = instance.get_runs(limit=1)
        return bool(runs) and bool(
            instance.all_logs(runs[0].run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        )


def after_first_loads(trial: Trial, context: Any) -> Trial:
    """Return the trial as it goes on after each partition was loaded, where that is asked for."""
    for number in (0, 1) if trial.round else ():
        process = context.Process(target=load, args=(trial, number))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"the first load of a partition fails, see {trial.folder}")
    return replace(trial, round=2 * trial.round)


def run_trial(
    trial: Trial, chance: random.Random, *, kills: int, longest: float, loses_directory: bool
) -> tuple[Counter[str], int, str]:
    """Run one trial; return its kills by stage, its failed runs, and what is wrong at the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.kills"])
    trial = after_first_loads(trial, context)
    left = dict.fromkeys(range(trial.processes), kills)
    running: dict[int, tuple[Any, float]] = {}
    done: set[int] = set()
    killed: Counter[str] = Counter()
    failed = 0
    end = time.monotonic() + PATIENCE
    while len(done) < trial.processes:
        if time.monotonic() > end:
            for process, _ in running.values():
                process.kill()
            return killed, failed, "it does not end"
        for number in set(range(trial.processes)) - done - set(running):
            process = context.Process(target=load, args=(trial, number))
            process.start()
            moment = chance.uniform(0, longest) if left[number] else PATIENCE
            running[number] = (process, time.monotonic() + moment)
        for number, (process, moment) in list(running.items()):
            if process.is_alive() and time.monotonic() < moment:
                continue
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                left[number] -= 1
                killed[trial.stage(number)] += 1
            process.join()
            del running[number]
            if has_ended_well(trial, number):
                done.add(number)
            elif process.exitcode != -signal.SIGKILL:
                failed += 1
            if loses_directory and trial.processes == 1:
                shutil.rmtree(trial.folder / "pipelines", ignore_errors=True)
        time.sleep(0.01)
    return killed, failed, problems_of(trial)


def problems_of(trial: Trial) -> str:
    """Say what is not as one good run of each process would have left it."""
    # The other partition is as the first load has left it.
    total = 2 * trial.rows + LATER if trial.round else trial.rows * trial.processes
    expected = {"appended": total, "appended__items": 2 * total}
    # Files cannot be merged into: dlt appends to them.
    if not trial.round:
        expected.update({"merged": total, "merged__items": 2 * total})
    if trial.processes == 1:
        expected.update({"replaced": total, "replaced__items": 2 * total})
    wrong = []
    for table, rows in expected.items():
        try:
            found = trial.count(table, "_dlt_id" if table.endswith("__items") else "id")
        except Exception as error:  # noqa: BLE001 - a destination that is broken is a finding
            return f"{table}: {type(error).__name__}: {str(error)[:200]}"
        if tuple(found) != (rows, rows):
            wrong.append(f"{table} has {found[0]} rows, {found[1]} distinct, not {rows}")
    return "; ".join(wrong)


def measured_seconds(options: argparse.Namespace, seed: int) -> float:
    """Return how long a trial takes in which nobody is killed; the first one starts a server."""
    seconds = 0.0
    for number in range(2):
        trial = make_trial(options, f"kills_{seed}_good{number}")
        started = time.monotonic()
        _, failed, wrong = run_trial(
            trial, random.Random(seed), kills=0, longest=PATIENCE, loses_directory=False
        )
        seconds = time.monotonic() - started
        if failed or wrong:
            raise SystemExit(f"without kills: {wrong or failed}, see {trial.folder}")
        trial.clean()
    # Only the last of three loads is killed.
    return seconds / 3 if options.reload else seconds


def make_trial(options: argparse.Namespace, dataset: str) -> Trial:
    """Make the folder and the dataset of a trial."""
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    trial = Trial(
        folder,
        options.destination,
        dataset,
        options.rows,
        options.processes,
        round=int(options.reload),
    )
    trial.prepare()
    return trial


def main() -> int:
    """Run the trials and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--destination", default="duckdb", choices=["duckdb", "postgres", "filesystem", "mariadb"]
    )
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="partitions at the same time")
    parser.add_argument("--kills", type=int, default=3, help="at most so many of each process")
    parser.add_argument("--rows", type=int, default=2000, help="of each resource and process")
    parser.add_argument(
        "--longest",
        type=float,
        default=None,
        help="seconds until a kill, at most; else as long as a trial without kills takes",
    )
    parser.add_argument(
        "--lose-directory", action="store_true", help="remove the working directory after each kill"
    )
    parser.add_argument("--stop", action="store_true", help="stop and go on, instead of kills")
    parser.add_argument("--twice", action="store_true", help="deliver a run twice")
    parser.add_argument("--reload", action="store_true", help="kill loads of a loaded partition")
    parser.add_argument("--celery", action="store_true", help="run steps on workers of Celery")
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else int(time.time())
    chance = random.Random(seed)
    print(f"seed {seed}, duckdb {duckdb.__version__}, dlt {dlt.__version__}", flush=True)
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    longest = chosen.longest or measured_seconds(chosen, seed)
    # A step begins when a worker has taken it.
    longest += 3 if chosen.celery else 0
    print(f"each process is killed within {longest:.1f} s of its start", flush=True)
    with contextlib.ExitStack() as stack:
        cluster = None
        if chosen.celery:
            from bench.celery_kills import cluster_of

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-")))
            cluster = stack.enter_context(cluster_of(folder))
        return run_trials(chosen, seed, chance, longest, cluster)


def run_trials(
    chosen: argparse.Namespace, seed: int, chance: random.Random, longest: float, cluster: Any
) -> int:
    """Run all trials and print what they found; return the exit code."""
    sums: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for trial_number in range(chosen.trials):
        trial = make_trial(chosen, f"kills_{seed}_{trial_number}")
        if cluster is not None:
            from bench.celery_kills import run_on_celery

            killed, failed, wrong = run_on_celery(
                cluster, trial, chance, kills=chosen.kills, longest=longest
            )
        elif chosen.stop or chosen.twice:
            killed, failed, wrong = run_stopped(
                trial, chance, longest=longest, is_twice=chosen.twice
            )
        else:
            killed, failed, wrong = run_trial(
                trial,
                chance,
                kills=chosen.kills,
                longest=longest,
                loses_directory=chosen.lose_directory,
            )
        stages.update(killed)
        sums.update(kills=killed.total(), failed=failed, wrong=int(bool(wrong)))
        print(
            f"trial {trial_number}: {killed.total()} kills, {wrong or 'each row once'}", flush=True
        )
        if wrong or failed:
            print(f"  {failed} runs failed by themselves; kept for a look: {trial.folder}")
        else:
            trial.clean()
    print(
        f"{sums['kills']} kills in {chosen.trials} trials: {sums['wrong']} wrong, "
        f"{sums['failed']} runs failed by themselves"
    )
    print(", ".join(f"{count} in {stage}" for stage, count in sorted(stages.items())))
    return 1 if sums["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
