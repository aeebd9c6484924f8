"""A secret that may change while the process runs, because it is in a file.

Rules:

1. It is read again when somebody refuses it, at most every two seconds, and from its path: whoever
   rotates it may write over the file or swap a symbolic link (Kubernetes).
2. What can't be used leaves the former value, and is told: a file that is gone, empty, or that
   holds what can be no such secret. The beginning of a secret looks like one: it is refused, and
   read again.
3. The log masks a new value before anybody has it.
4. The loop never waits for the file, and one thread at most does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from consumer.telemetry.library_log import library_logger
from consumer.telemetry.logs import mask_also
from consumer.telemetry.repeats import RepeatedLine

log = library_logger(__name__)

PAUSE_SECONDS = 2.0
_READ_SECONDS = 5.0  # a file system that hangs must not hold up a request for longer
_LINE_SECONDS = 60.0


class RenewableSecret:
    """See the module's docstring. Its value is shown nowhere.

    Args:
        name: the setting, for the log.
        value: as it was read at the start.
        read: reads it again; raises ``OSError`` or ``ValueError``, whose text holds no secret.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        value: str,
        read: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._value = value
        self._read = read
        self._clock = clock
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._thread: asyncio.Future[str] | None = None
        self._unusable = RepeatedLine(clock, interval=_LINE_SECONDS)

    def __repr__(self) -> str:
        return f"<RenewableSecret {self.name}>"

    @property
    def value(self) -> str:
        """The one to use now."""
        return self._value

    async def renewed(self, refused: str) -> bool:
        """Whether there is another one than the one that was refused.

        Args:
            refused: what was sent; another task may have read a new one since.
        """
        async with self._reading:
            if self._value == refused and self._is_due():
                try:
                    self._take(await self._read_apart())
                except (OSError, ValueError) as error:
                    self._complain(error)
            return self._value != refused

    async def _read_apart(self) -> str:
        if self._thread is None:
            self._thread = asyncio.ensure_future(asyncio.to_thread(self._read))
        await asyncio.wait({self._thread}, timeout=_READ_SECONDS)
        if not self._thread.done():
            # Another thread for each try would take all that there are for such work.
            raise TimeoutError(f"it can't be read within {_READ_SECONDS:.0f} s")
        thread, self._thread = self._thread, None
        return thread.result()

    def renew(self) -> None:
        """Read it again here and now, where other files are read as well."""
        if not self._is_due():
            return
        try:
            self._take(self._read())
        except (OSError, ValueError) as error:
            self._complain(error)

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._read_at < PAUSE_SECONDS:
            return False
        self._read_at = now
        return True

    def _take(self, found: str) -> None:
        if found == self._value:
            return
        mask_also(found)
        self._value = found
        log.info("secret.renewed", setting=self.name)

    def _complain(self, error: OSError | ValueError) -> None:
        if self._unusable.happened(self.name) is None:
            return
        reason = error.strerror if isinstance(error, OSError) else None
        log.warning(
            "secret.unusable",
            setting=self.name,
            error=reason or str(error) or "it holds no secret of this kind",
            consequence="the former value is used on; its file is read again when that is refused",
        )
