"""Loggers of what is also used as a library, in other people's programs: silent by default.

Where the program has set up structlog, as the service does (`consumer.telemetry.logs`), events go
its way. Elsewhere structlog would print them on the program's standard output. So there they go to
the standard library's loggers ``consumer.…``, which say nothing until the program gives them, or
the root, a handler: an event is one line, its fields behind its name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import structlog

# What the standard library asks of libraries: without it warnings would go to standard error.
logging.getLogger("consumer").addHandler(logging.NullHandler())


class LibraryLogger:
    """See the module's docstring; made by `library_logger`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = structlog.get_logger(name)  # it looks at the set-up at each call

    def debug(self, event: str, **fields: object) -> None:
        """What helps to find a fault of ours."""
        self._tell("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        self._tell("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What is not as it should be, and work goes on."""
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What somebody has to look at."""
        self._tell("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """As `error`, with the exception that is being handled."""
        self._tell("error", event, {"exc_info": True, **fields})

    def _tell(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        if structlog.is_configured():
            getattr(self._log, level)(event, **fields)
            return
        logger, number = logging.getLogger(self._name), getattr(logging, level.upper())
        if logger.isEnabledFor(number):
            trace: Any = fields.get("exc_info")
            say = getattr(logger, level)
            say("%s", _line(event, fields), exc_info=trace, stacklevel=3)


def library_logger(name: str) -> LibraryLogger:
    """The logger of a module.

    Args:
        name: the module's ``__name__``.
    """
    return LibraryLogger(name)


def _line(event: str, fields: Mapping[str, object]) -> str:
    """An event as one line, whatever its fields hold."""
    told = (f"{name}={value!r}" for name, value in fields.items() if name != "exc_info")
    return " ".join((event, *told))
