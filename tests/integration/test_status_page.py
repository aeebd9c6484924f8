"""The status page in a browser: what is seen, in which light, at which width, and what is harmless.

TEST_SCREENSHOTS_DIR names a folder that keeps what was seen, for people to look at.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.admin.page import PageParts, StatusPage
from consumer.admin.server import AdminServer
from consumer.admin.status import Status
from consumer.admin.streams import StreamLimits
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.scrub import Scrubber
from tests.integration.chromium import Tab, chromium
from tests.unit.admin.sample_status import sample_status
from tests.unit.admin.test_server import Told

pytestmark = [pytest.mark.slow]

HOSTILE = (
    "<img src=x onerror=\"document.title='broken'\">",
    '"><script>document.title="broken"</script>',
    "</td></table><h1>broken</h1>",
    "{{7*7}} ${7*7} javascript:alert(1)",
    "\u202egnp.exe \u2066\u0000\ud800 " + "x" * 500,
)


LINK = "(document.getElementById('link')?.textContent ?? '')"  # how it gets its news


class Scene:
    """A page whose status can be changed while it is looked at."""

    def __init__(self, server: AdminServer, status: Status) -> None:
        self.server = server
        self.status = status

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.port}/"


@asynccontextmanager
async def served(status: Status, limits: StreamLimits | None = None) -> AsyncIterator[Scene]:
    """The page as the service serves it."""
    clean = Scrubber(["CANARY"]).text
    page = StatusPage(
        PageParts(
            lambda: scene.status,
            lambda text: clean(text, 500),
            time.monotonic,
            streams=limits or StreamLimits(every=0.2),
        )
    )
    async with AdminServer("127.0.0.1", 0, Told(), Metrics(), page=page) as server:
        scene = Scene(server, status)
        yield scene


def keep(name: str, picture: bytes) -> None:
    """Keep what was seen where somebody wants to look at it."""
    if folder := os.environ.get("TEST_SCREENSHOTS_DIR"):
        (Path(folder) / f"{name}.png").write_bytes(picture)


async def until_drawn(tab: Tab) -> None:
    await tab.until("document.querySelectorAll('#results tbody tr').length > 0")


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with chromium(tmp_path) as opened:
        yield opened


async def test_all_of_it_is_seen_in_any_light_and_at_any_width(tab: Tab) -> None:
    """Every section has its facts, nothing is wider than the screen, and nothing complains."""
    async with served(sample_status()) as scene:
        for name, width, dark in (
            ("light", 1200, False),
            ("dark", 1200, True),
            ("narrow", 380, False),
        ):
            await tab.show(scene.url, width=width, height=800, dark=dark)
            await until_drawn(tab)
            keep(name, await tab.screenshot())
            text = await tab.value_of("document.body.innerText")
            for fact in (
                "degraded", "lantern-care: dimension 384, not 768", "75 of 120, 1 failed",
                "in 27 s", "documents.processed-3", "1,261", "32 of 32", "its next round",
                "422 the text is too long", "group anythingllm-consumer", "33 min",
            ):  # fmt: skip
                assert fact in text
            assert await tab.value_of("document.documentElement.scrollWidth") <= width
            assert await tab.value_of("document.querySelectorAll('svg polyline').length") == 6
            ground = await tab.value_of("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(17, 22, 28)" if dark else "rgb(245, 246, 248)")
    assert tab.complaints == []


async def test_a_time_of_another_day_has_its_date(tab: Tab) -> None:
    """A failure of last week must not look like one of this morning."""
    async with served(sample_status()) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await until_drawn(tab)
        shown = [
            await tab.value_of(f"clock(new Date(Date.now() - {hours} * 3600000).toISOString())")
            for hours in (0, 23, 25, 24 * 400)
        ]
        of_a_year = await tab.value_of(
            "(when => when.toLocaleDateString('en-CA'))(new Date(Date.now() - 400 * 86400000))"
        )

    assert [len(each) for each in shown] == [8, 8, 19, 19]
    assert shown[3].startswith(of_a_year)


async def test_figures_are_of_all_partitions(tab: Tab) -> None:
    """And the list says how many it leaves out."""
    status = sample_status()
    totals = replace(status.totals, partitions=250, lag=7_654_321)
    async with served(replace(status, totals=totals)) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await until_drawn(tab)
        assert "7,654,321" in await tab.value_of("document.getElementById('figures').innerText")
        assert "and 246 more" in await tab.value_of(
            "document.getElementById('partitions').innerText"
        )


async def test_it_updates_by_itself(tab: Tab) -> None:
    """Events come as long as it is looked at; what did not change is left alone."""
    async with served(sample_status()) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await until_drawn(tab)
        await tab.value_of("document.querySelector('#results table').kept = true")
        scene.status = replace(scene.status, state="draining", worries=("news",))
        await tab.until("document.getElementById('state').innerText === 'draining'")
        assert await tab.value_of("document.getElementById('reasons').innerText") == "news"
        assert await tab.value_of("document.querySelector('#results table').kept") is True
        assert await tab.value_of(LINK) == "live"
    assert tab.complaints == []


async def test_without_a_stream_it_asks_every_few_seconds(tab: Tab) -> None:
    """Where all streams are taken."""
    async with served(sample_status(), StreamLimits(streams=0)) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await tab.until(f"{LINK} === 'every 5 s'")
        await until_drawn(tab)
    assert [each for each in tab.complaints if "503" not in each] == []


async def test_a_service_that_is_gone_is_said_to_be(tab: Tab) -> None:
    """Old figures must not look like news."""
    async with served(sample_status()) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await until_drawn(tab)
    await tab.value_of("heardAt = Date.now() - 60000")
    await tab.until(f"{LINK}.startsWith('no answer for ')")


async def test_what_publishers_and_servers_say_is_only_text(tab: Tab) -> None:
    """Slugs, ids and errors come from others; nothing of it becomes markup or code."""
    for text in HOSTILE:
        async with served(sample_status(title=text, workspace=text)) as scene:
            for width in (380, 1200):
                await tab.show(scene.url, width=width, height=800)
                await until_drawn(tab)
                assert await tab.value_of("document.title") == "degraded: anythingllm-consumer"
                strange = "document.querySelectorAll('main :is(img, h1, script, iframe)').length"
                assert await tab.value_of(strange) == 0
                assert await tab.value_of("document.documentElement.scrollWidth") <= width
                seen = await tab.value_of("document.body.innerText")
                assert text[:4].replace("\u202e", "\\u202e") in seen
    assert tab.complaints == []


async def test_the_browser_refuses_what_is_not_ours(tab: Tab) -> None:
    """The policy that it is given holds: no inline script, no markup from text, nobody else."""
    async with served(sample_status()) as scene:
        await tab.show(scene.url, width=1200, height=800)
        await until_drawn(tab)
        tried = {
            "markup": "try { document.body.innerHTML = '<b>x</b>'; 'done' } catch { 'refused' }",
            "evaluation": "try { Function('1')(); 'done' } catch { 'refused' }",
            "elsewhere": "fetch('http://127.0.0.1:1/').then(() => 'done', () => 'refused')",
            "inline": (
                "(() => { try { const one = document.createElement('p');"
                " one.setAttribute('onclick', 'window.ran = true'); one.click(); } catch {}"
                " return window.ran ? 'done' : 'refused'; })()"
            ),
        }
        found = {name: await tab.value_of(script) for name, script in tried.items()}
    assert found == dict.fromkeys(tried, "refused")
