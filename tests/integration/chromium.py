"""A headless Chromium, driven by its own protocol over a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # as root it does not start otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_TOLD = b"DevTools listening on "


def chromium_program() -> str:
    """Its path; the test is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


class Tab:
    """A page that is open, and what it complained about.

    Attributes:
        complaints: errors of its scripts and of the console, refused requests among them.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self._reading = asyncio.create_task(self._read())

    async def opened(self) -> Self:
        """Begin with an empty page."""
        target = await self._ask("Target.createTarget", url="about:blank")
        attached = await self._ask(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self._ask(f"{domain}.enable")
        return self

    async def show(self, url: str, *, width: int, height: int, dark: bool = False) -> None:
        """Go to an address, as seen on a screen of this size."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self._ask("Emulation.setEmulatedMedia", features=scheme)
        await self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        await self._ask("Page.navigate", url=url)

    async def value_of(self, expression: str) -> Any:
        """What an expression of JavaScript gives, as JSON."""
        answer = await self._ask(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,  # the policy of the page holds here as well
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 20.0) -> None:
        """Return when an expression is true; the page says itself when anything in it changes."""
        waits = (
            "new Promise((resolve, reject) => {"
            f" const look = () => {{ if ({expression}) {{ seen.disconnect(); resolve(true); }} }};"
            " const seen = new MutationObserver(look);"
            " seen.observe(document, {subtree: true, childList: true, attributes: true,"
            " characterData: true}); look(); })"
        )
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.value_of(waits)
                except AssertionError as error:
                    # It went on to another page meanwhile.
                    if "navigated" not in str(error) and "destroyed" not in str(error):
                        raise
                else:
                    return

    async def screenshot(self) -> bytes:
        """The whole page as PNG."""
        size = await self.value_of(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        shot = await self._ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def close(self) -> None:
        """Listen no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(30):
            found = await answer
        assert "error" not in found, f"{method}: {found['error']}"
        result: dict[str, Any] = found["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if (answer := self._asked.pop(told.get("id"), None)) is not None:
                answer.set_result(told)
            self._note(told.get("method"), told.get("params", {}))

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(str(told["entry"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.complaints.append(str(told["args"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """A browser with one tab, which ends with the block.

    Args:
        folder: for its profile.
    """
    program = await asyncio.create_subprocess_exec(
        chromium_program(),
        *_OPTIONS,
        f"--user-data-dir={folder / 'profile'}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    try:
        async with asyncio.timeout(60):
            address = await _address_of(program)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            tab = await Tab(socket).opened()
            try:
                yield tab
            finally:
                await tab.close()
    finally:
        if program.returncode is None:
            program.terminate()
        # Its pipe is read to the end, or it may wait for a reader for ever.
        await program.communicate()


async def _address_of(program: asyncio.subprocess.Process) -> str:
    assert program.stderr is not None
    async for line in program.stderr:
        if line.startswith(_TOLD):
            return line.removeprefix(_TOLD).decode().strip()
    raise AssertionError("Chromium ended before it listened")
