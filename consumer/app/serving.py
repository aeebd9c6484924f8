"""A service as a process: its signals and its end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import structlog

from consumer.admin.server import AdminError
from consumer.app.errors import ServiceDiedError, StartFailedError
from consumer.app.service import Service
from consumer.settings import Settings

log = structlog.get_logger(__name__)

_EXIT_INTERRUPTED = 130
_YOUNG_OBJECTS = 10_000  # made and not gone before the collector looks at them; Python's own: 700


async def serve(settings: Settings, *, fail_fast: bool) -> None:
    """Run the service until a signal stops it.

    Raises:
        AdminError: the admin pages can't be served.
        StartFailedError: with fail_fast; or something is not installed.
        ServiceDiedError: a fault in the program; the log has it.
    """
    _collect_rarely()
    service = Service(settings, fail_fast=fail_fast)
    _stop_on_signals(service)
    try:
        await service.run()
    except (AdminError, StartFailedError):
        raise
    except Exception as fault:
        log.critical(
            "service.died",
            exc_info=fault,
            consequence="exit code 1; nothing that was not settled is committed",
        )
        first = _first_of(fault)
        raise ServiceDiedError(f"{first.__class__.__name__}: {first}") from fault


def _collect_rarely() -> None:
    """Have Python look for garbage more rarely, and never among what was imported.

    Nearly all that a chunk takes goes without the collector. With Python 3.11's own thresholds it
    cost a tenth of the time of a chunk.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _first_of(fault: Exception) -> Exception:
    """The first fault inside however many task groups; a group's own text says nothing."""
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _stop_on_signals(service: Service) -> None:
    """The first signal stops in order, the second at once."""
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        if service.stopping:
            log.warning("service.stopped_at_once", signal=signal.Signals(number).name)
            os._exit(_EXIT_INTERRUPTED)
        log.info("service.stopping", signal=signal.Signals(number).name)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
