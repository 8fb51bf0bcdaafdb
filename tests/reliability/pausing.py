"""A load of one machine that stops where it is told, so that another one can begin the same."""

import os
import signal

import dagster as dg
from killing import Shop, run_batch, with_points


def load_and_pause(shop: Shop, batch: int, pause_at: str | None, shared_instance: bool) -> bool:
    """Load one batch; stop once at a point until somebody lets this process go on.

    Args:
        shop: The load, on its machine.
        batch: The batch.
        pause_at: One of the points of `killing`, or None.
        shared_instance: Whether all machines have one Dagster.
    """

    left = {pause_at} - {None}

    def pause(here: str) -> None:
        if here in left:
            left.remove(here)
            os.kill(os.getpid(), signal.SIGSTOP)

    with_points(pause)
    if not shared_instance:
        return run_batch(shop, batch, pause).success
    home = shop.folder / "dagster_home"
    home.mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        return run_batch(shop, batch, pause, instance=instance).success
