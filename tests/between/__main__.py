"""The proxy by hand: ``python -m tests.between --help``.

Without ``--upstream`` it starts a simulated AnythingLLM of its own and stands before that. Point
``ANYTHINGLLM_ENDPOINT`` to the address that it prints.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import textwrap
from collections.abc import Sequence
from contextlib import AsyncExitStack

from consumer.sandbox.simulator import simulator
from tests.between.behaviours import BEHAVIOURS
from tests.between.operations import OPERATIONS
from tests.between.proxy import Proxy, between


def parser() -> argparse.ArgumentParser:
    """The options; the behaviours and operations with their sentences below them."""
    made = argparse.ArgumentParser(
        prog="python -m tests.between",
        description="A reverse proxy on loopback before AnythingLLM, with a behaviour of its own.",
        epilog=_named(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("behaviour", nargs="?", choices=BEHAVIOURS, metavar="behaviour")
    made.add_argument("--operation", choices=OPERATIONS, default="everything", metavar="NAME")
    made.add_argument("--times", type=int, help="requests that it strikes at most; else all")
    made.add_argument("--seconds", type=float, help="seconds after which all is well again")
    made.add_argument("--upstream", help="AnythingLLM's address; else a simulated one is started")
    made.add_argument("--port", type=int, default=0, help="to listen on; 0 picks a free one")
    return made


def _named() -> str:
    lines = []
    for title, things in (("behaviours", BEHAVIOURS), ("operations", OPERATIONS)):
        lines.append(f"{title}:")
        for each in things.values():
            lines += textwrap.wrap(
                f"{each.name:26} {each.sentence}",
                98,
                initial_indent="  ",
                subsequent_indent=" " * 29,
            )
        lines.append("")
    return "\n".join(lines)


async def serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    """Stand in between until told to stop."""
    async with AsyncExitStack() as stack:
        server = None
        upstream = options.upstream
        if upstream is None:
            server = await stack.enter_async_context(simulator())
            upstream = server.endpoint
            print(f"a simulated AnythingLLM at {upstream}, API key {server.api_key}")
        proxy = await stack.enter_async_context(between(upstream, options.port, server))
        print(f"in between at {proxy.endpoint}", flush=True)
        await _behave(proxy, options, stop)


async def _behave(proxy: Proxy, options: argparse.Namespace, stop: asyncio.Event) -> None:
    if options.behaviour is None:
        await stop.wait()
        return
    behaviour, operation = BEHAVIOURS[options.behaviour], OPERATIONS[options.operation]
    struck = proxy.behave(behaviour, operation, options.times)
    print(f"it {behaviour.sentence}; struck: {operation.sentence}", flush=True)
    try:
        async with asyncio.timeout(options.seconds):
            await stop.wait()
    except TimeoutError:
        proxy.well()
        print(f"all is well again; {struck.count} requests were struck", flush=True)
        await stop.wait()
    print(f"{struck.count} requests were struck", flush=True)


async def main(words: Sequence[str] | None = None) -> None:
    """Until SIGINT or SIGTERM."""
    options = parser().parse_args(words)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(options, stop)


if __name__ == "__main__":
    asyncio.run(main())
