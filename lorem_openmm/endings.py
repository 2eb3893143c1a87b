"""How a program ends: its exit code, one message for an error, quietly where nobody reads."""

import errno
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress

from lorem_openmm.errors import LoremError

FAILED, INTERRUPTED, UNREAD = 1, 130, 141  # the last two as shells have it for SIGINT and SIGPIPE
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run_to_its_end(program: Callable[[], None]) -> int:
    """Runs a program and returns its exit code.

    0; 1 after an error that the user can mend, printed as one message; 130 after an interruption from the keyboard;
    141 if nobody reads any more what it prints (``| head``).

    Args:
        program: What to run; it may end by ``SystemExit``.
    """
    for stream in (sys.stdout, sys.stderr):  # terminals without Å
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            program()
        except SystemExit:  # after --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("lorem-openmm: interrupted; the same command continues", file=sys.stderr)
        return INTERRUPTED
    except LoremError as error:
        return _fail(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return UNREAD
        return _fail(_describe(error))
    return 0


def _fail(message: str) -> int:
    print(f"lorem-openmm: error: {message}", file=sys.stderr)
    return FAILED


def _describe(error: OSError) -> str:
    place = "" if error.filename is None else f"{error.filename}: "
    advice = "; free space, or change `output` in the configuration" if error.errno in NO_SPACE else ""
    return f"{place}{error.strerror or error}{advice}"


def _nobody_reads() -> bool:
    """Returns whether a pipe that this program prints into was closed; what is still to be printed then goes nowhere.

    Pipes between processes break as well, and that is an error to be told.
    """
    closed = False
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # no such call on this system, or no file behind a stream
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                closed = True
    return closed
