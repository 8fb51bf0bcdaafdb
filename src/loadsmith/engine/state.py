"""The pipeline state in the destination in, the working directory's state out."""

from typing import Any

from loadsmith.engine.workspace import Workspace


def restore_state(pipeline: Any, workspace: Workspace) -> None:
    """Take the state and the schemas from the destination, where it keeps them."""
    if pipeline.config.restore_from_destination and not pipeline.dev_mode:
        pipeline.sync_destination()
