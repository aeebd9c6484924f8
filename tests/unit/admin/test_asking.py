"""Who asks for a service's status is told what it does, or why it does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from consumer.admin.asking import StatusAnswer, ask_all, url_of
from consumer.admin.guard import PageRules
from consumer.admin.page import PageParts, StatusPage
from consumer.admin.server import AdminServer
from consumer.admin.status import NO_PACE, Status, eta_of, plain
from consumer.telemetry.metrics import Metrics
from tests.unit.admin.sample_status import sample_status
from tests.unit.admin.test_server import Told


@asynccontextmanager
async def served(status: Status | None = None, page: str = "loopback") -> AsyncIterator[str]:
    """A service's address."""
    parts = PageParts(
        lambda: status or sample_status(), str, asyncio.get_running_loop().time, PageRules(page)
    )
    async with AdminServer(
        "127.0.0.1", 0, Told(worries=["a worry"]), Metrics(), page=StatusPage(parts)
    ) as server:
        yield f"127.0.0.1:{server.port}"


@asynccontextmanager
async def saying(answer: bytes | None) -> AsyncIterator[str]:
    """The address of something else, which says this and goes; None: says nothing."""
    asked = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await asked.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asked.set()


async def asked(address: str, *, seconds: float = 5.0) -> StatusAnswer:
    (answer,) = await ask_all([url_of(address, host="127.0.0.1", port=8080)], seconds=seconds)
    return answer


@pytest.mark.parametrize(
    ("address", "host", "url"),
    [
        ("8081", "127.0.0.1", "http://127.0.0.1:8081/status"),
        ("8080", "0.0.0.0", "http://127.0.0.1:8080/status"),
        ("8080", "::1", "http://[::1]:8080/status"),
        ("worker-1", "127.0.0.1", "http://worker-1:8080/status"),
        ("worker-1:9", "127.0.0.1", "http://worker-1:9/status"),
        ("[::1]:9", "127.0.0.1", "http://[::1]:9/status"),
        ("http://worker-1", "127.0.0.1", "http://worker-1/status"),
        ("https://worker-1:9/", "127.0.0.1", "https://worker-1:9/status"),
        ("http://all/worker-1/status", "127.0.0.1", "http://all/worker-1/status"),
    ],
)
def test_addresses_as_people_write_them(address: str, host: str, url: str) -> None:
    """A port alone is one of this machine, where the settings say that the service listens."""
    assert url_of(address, host=host, port=8080) == url


@pytest.mark.parametrize(
    "address", ["", "a b", "worker:port", "worker:99999", "ftp://worker", "http://u:p@worker",
                "http://worker/?a=b", "http://[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="address"):
        url_of(address, host="127.0.0.1", port=8080)


def test_a_password_in_an_address_is_not_told_again() -> None:
    """What a command says is copied into tickets."""
    with pytest.raises(ValueError, match="no user and password") as refused:
        url_of("http://user:hunter2@worker:1", host="127.0.0.1", port=8080)
    assert "hunter2" not in str(refused.value)


async def test_the_status_comes_as_it_was_made() -> None:
    """Every field of it, and the text of what was sent beside it."""
    async with served() as address:
        answer = await asked(address)

    assert answer.address == address
    assert plain(answer.status, str) == plain(sample_status(), str)
    assert answer.fields is not None
    assert answer.fields["version"] == 1
    assert answer.problem is None


async def test_a_service_of_an_earlier_release_is_shown_as_well() -> None:
    """It says no pace yet, and less of what waits."""
    body = (
        b'{"at":"2026-03-01T09:30:00Z","service":{"release":"0","instance":"i","group":"g",'
        b'"started_at":"2026-03-01T09:30:00Z","uptime_seconds":1},"state":"ready","reasons":[],'
        b'"worries":[],"servers":[],"partitions":[],"totals":{"partitions":0,"lag":0,'
        b'"stable_lag":0,"open":0,"held_back":0,"oldest_seconds":0.0},"work":{"documents":1,'
        b'"places":2,"aside":0,"bytes":0,"waiting":[{"waits_for":"fuse","workspace":null,'
        b'"server":null,"documents":1,"trial_in":null}],"oldest":[]},"rates":[],"results":[],'
        b'"letters":{"open":0,"forgotten":0,"causes":[]},"settings":[],"version":1,"later":2}'
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    async with saying(head + body) as address:
        answer = await asked(address)

    assert answer.status is not None
    assert answer.status.pace == NO_PACE
    assert answer.status.work.waiting[0].waits_for == "fuse"


async def test_a_status_of_another_kind_is_said_to_be_one() -> None:
    """And scripts get it as it is."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    async with saying(head + b'{"version":2}') as address:
        answer = await asked(address)

    assert answer.status is None
    assert answer.fields == {"version": 2}
    assert "version 2" in str(answer.problem)


async def test_a_hidden_status_says_how_to_get_it_and_what_the_probes_say() -> None:
    """By default a service shows it to its own machine alone."""
    async with served(page="off") as address:
        problem = str((await asked(address)).problem)

    assert "its own machine (ADMIN_PAGE)" in problem
    assert problem.endswith("its /readyz says: degraded; a worry")


async def test_a_name_that_is_not_served_is_told() -> None:
    """DNS rebinding is refused, and so is a name that nobody has set."""
    async with saying(b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n") as address:
        problem = str((await asked(address)).problem)

    assert "under the name 127.0.0.1" in problem
    assert "ADMIN_ALLOWED_HOSTS" in problem


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>", "200"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "answers 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
         "something else than a status"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "speaks no HTTP"),
        (b"", "breaks off"),
    ],
)  # fmt: skip
async def test_what_is_no_service_of_ours_is_said_to_be(answer: bytes, said: str) -> None:
    """A wrong port is the likeliest reason."""
    async with saying(answer) as address:
        problem = str((await asked(address)).problem)

    assert said in problem
    assert "is the port right?" in problem


async def test_nobody_there() -> None:
    """Refused, unknown, or silent: each is told apart."""
    async with saying(b"") as address:
        pass
    assert (await asked(address)).problem == "nobody listens there (connection refused)"
    assert (await asked("nobody.invalid")).problem == "its name is not known here"
    async with saying(None) as address:
        assert (await asked(address, seconds=0.05)).problem == "no answer within 0.05 s"


async def test_one_that_is_away_hides_no_other() -> None:
    """All are asked, and each answers for itself."""
    async with served() as first, served(replace(sample_status(), state="ready")) as second:
        urls = [url_of(each, host="", port=1) for each in (first, "127.0.0.1:1", second)]
        answers = await ask_all(urls)

    assert [each.status and each.status.state for each in answers] == ["degraded", None, "ready"]


@pytest.mark.parametrize(
    ("lag", "documents", "seconds"),
    [(0, 0.0, 0.0), (0, None, 0.0), (10, 2.0, 5.0), (10, 0.0, None), (10, None, None),
     (None, 2.0, None)],
)  # fmt: skip
def test_when_all_is_done(lag: int | None, documents: float | None, seconds: float | None) -> None:
    """Nobody can tell where nothing was settled of late."""
    assert eta_of(lag, documents) == seconds
