"""What pools of worker processes share."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def available_cores() -> int:
    """Returns the number of cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def end_with_parent() -> None:
    """Makes a worker process end when its parent is gone, so that a killed run leaves nothing behind."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
