"""The standard streams of a process: some are closed from the start, and readers of others go.

`… | head` ends a command in silence. A stream that was closed (`>&-`) is none that could fail:
what goes there is dropped, and what the command does is done.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_closed_ones() -> None:
    """Put the null device where the process was started without a stream."""
    for name, mode in _MODES.items():
        if getattr(sys, name) is None:
            # It gets the stream's own number, which is free: else the next connection would get it,
            # and whatever writes to that number would write to Kafka.
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def flushed(stream: TextIO) -> OSError | None:
    """Write what a stream still holds; why it could not be written, if it could not.

    Python would complain at its end, and end with 120.
    """
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def is_gone(error: OSError) -> bool:
    """Whether the reader of a pipe has gone, which is its right and no failure to report."""
    return error.errno in {errno.EPIPE, errno.ESHUTDOWN}
