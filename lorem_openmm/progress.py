"""Progress that suits where it goes: a bar on a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(iterable: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yields the items of ``iterable`` and reports how far they are, on standard error.

    On a terminal this is a bar; elsewhere one line about every 10 %, so that log files stay readable.

    Args:
        iterable: What to go through.
        total: Number of items expected.
        description: What is being done, for example ``label dimers_xtb``.
    """
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=description, file=sys.stderr, dynamic_ncols=True)
        return
    start, tenth = time.monotonic(), 0
    for done, item in enumerate(iterable, start=1):
        yield item
        if total > 0 and done * 10 // total > tenth:
            tenth = done * 10 // total
            seconds = time.monotonic() - start
            print(f"{description}: {done}/{total} ({seconds:.0f} s)", file=sys.stderr, flush=True)
