"""``status``: what running services do, in a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    ConfigOption,
    ExitCode,
    JsonOption,
    end,
    settings_for,
    wrong_usage,
)
from consumer.cli.status_shown import fitting_lines, show

if TYPE_CHECKING:
    from consumer.admin.asking import StatusAnswer
    from consumer.settings import Settings

_EVERY_SECONDS = 2.0
_CLEAR, _HOME, _REST_OF_LINE, _REST = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"


def status(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ADDRESS",
            help="HOST:PORT, PORT or URL of each service; ADMIN_HOST:ADMIN_PORT if none is named.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again until Ctrl-C.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="With --watch: how long between two looks; 2 unless told.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what running services do: lag, pace, what waits and why. Changes nothing.

    It shows what the status page shows, and asks the same address for it. Name
    the address of each member of a group to see them all, and their totals.
    With --json: the JSON of /status with its `address`, a line a service.
    Exit code 1 where one does not answer.

    Example: anythingllm-consumer status --watch host-1:8080 host-2:8080
    """
    import asyncio

    from consumer.admin.asking import ask_all

    if every is not None and not watch:
        raise wrong_usage("--every is for --watch")
    seconds = _EVERY_SECONDS if every is None else every
    if not seconds >= 1:
        raise wrong_usage("--every is 1 second or more: a service makes its status once a second")
    settings = settings_for(config, needs_anythingllm=False)
    urls = _urls(settings, addresses or [])
    if watch:
        asyncio.run(_watch(urls, seconds, as_json=as_json))
    answers = asyncio.run(ask_all(urls))
    _show(answers, as_json=as_json)
    if any(each.status is None for each in answers):
        _advise(settings, is_named=bool(addresses))
        end(ExitCode.FAILED)


def _urls(settings: Settings, addresses: Sequence[str]) -> list[str]:
    from consumer.admin.asking import url_of

    host, port = settings.admin.host, settings.admin.port
    if not port and not all(map(_has_port, addresses or [""])):
        raise wrong_usage(
            "ADMIN_PORT is 0, so the service picks a port: `admin.listening` in its log says which;"
            " then: status HOST:PORT"
        )
    try:
        named = [url_of(each, host=host, port=port) for each in addresses or [str(port)]]
    except ValueError as error:
        raise wrong_usage(str(error)) from None
    return list(dict.fromkeys(named))


def _has_port(address: str) -> bool:
    return "://" in address or address.rpartition(":")[2].isdecimal()


async def _watch(urls: Sequence[str], seconds: float, *, as_json: bool) -> None:
    """Show it again and again; who does not answer is asked again as well."""
    import asyncio

    from consumer.admin.asking import ask_all

    is_drawn = sys.stdout.isatty() and not as_json
    if is_drawn:
        sys.stdout.write(_CLEAR)
    while True:
        answers = await ask_all(urls)
        if is_drawn:
            _draw(answers)
        else:
            _show(answers, as_json=as_json)
            if not as_json:
                output.line("")
        sys.stdout.flush()
        await asyncio.sleep(seconds)


class _Screen(io.StringIO):
    """Takes what is shown on a terminal, to be put there at once: drawn bit by bit it flickers."""

    def isatty(self) -> bool:
        return True


def _draw(answers: Sequence[StatusAnswer]) -> None:
    with redirect_stdout(_Screen()) as screen:
        show(answers)
    width, height = shutil.get_terminal_size()
    fitting = fitting_lines(screen.getvalue().splitlines(), width=width, height=height)
    sys.stdout.write(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in fitting) + _REST)


def _show(answers: Sequence[StatusAnswer], *, as_json: bool) -> None:
    if not as_json:
        show(answers)
        return
    for each in answers:
        told = {} if each.problem is None else {"error": each.problem}
        output.json_line({"address": each.address, **told, **(each.fields or {})})


def _advise(settings: Settings, *, is_named: bool) -> None:
    if is_named:
        return
    here = f"{settings.admin.host}:{settings.admin.port}"
    output.note(
        f"That is the address of ADMIN_HOST and ADMIN_PORT ({here}). Does the service run on this"
        " machine, with these settings? Else name its address: status HOST:PORT, or ask where it"
        " runs: `docker compose exec consumer anythingllm-consumer status`,"
        " `kubectl exec POD -- anythingllm-consumer status`"
    )
