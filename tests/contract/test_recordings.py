"""The simulator answers as AnythingLLM 1.16 did: recorded exchanges, replayed in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.contract.comparison import How, differences, randoms

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))

pytestmark = pytest.mark.contract


class Replay:
    """Sends recorded requests, with what the simulator made up in place of the recorded UUIDs."""

    def __init__(self, server: Simulator, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._now_called: dict[str, str] = {}
        self._etag = ""

    async def prepare(self, step: dict[str, Any]) -> None:
        """Set up what the recording took for granted."""
        if "workspace" in step:
            named = {"name": step["workspace"]}
            _, _, answer = await self.send("POST", "/api/v1/workspace/new", body=named)
            self.learn(step.get("slug"), answer["workspace"]["slug"])
            return
        if "request" in step:
            await self.send(**step["request"])
            return
        if "damage" in step:
            await self.send("POST", "/_sim/damage", body=step["damage"])
            return
        _, _, answer = await self.send("POST", "/api/v1/document/raw-text", body=step["body"])
        self.learn(step["location"], answer["documents"][0]["location"])

    def learn(self, recorded: Any, fresh: Any) -> None:
        """Remember what the recording's random parts are called here; the first name stays."""
        named = dict(zip(randoms(recorded), randoms(fresh), strict=False))
        self._now_called = named | self._now_called  # the order of hits is the embedder's

    async def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> tuple[int, str | None, Any]:
        """One exchange: status, content type, body."""
        default = {"Authorization": "Bearer API-KEY"} if headers is None else {}
        spoken = {**default, **(headers or {})}
        spoken = {k: v.replace("API-KEY", self._server.api_key) for k, v in spoken.items()}
        if "If-None-Match" in spoken:
            spoken["If-None-Match"] = self._etag
        data = None
        if body is not None:
            spoken = {"Content-Type": "application/json", **spoken}
            raw = body if isinstance(body, str) else json.dumps(body)
            data = self._translated(raw).encode()
        url = self._server.endpoint + self._translated(path)
        async with self._session.request(method, url, headers=spoken, data=data) as response:
            content_type = response.headers.get("Content-Type")
            self._etag = response.headers.get("ETag", "")
            raw_answer = await response.text()
        is_json = raw_answer and content_type and content_type.startswith("application/json")
        return response.status, content_type, json.loads(raw_answer) if is_json else raw_answer

    def _translated(self, text: str) -> str:
        for recorded, fresh in self._now_called.items():
            text = text.replace(recorded, fresh)
        return text


@pytest.mark.parametrize("name", NAMES)
async def test_recorded_exchanges(name: str) -> None:
    """Same status, same content type, same body but for what is random, at every step."""
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    assert recording["exchanges"]
    async with (
        running_simulator(vector_db=recording.get("vector_db", "lancedb")) as simulator,
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
    ):
        replay = Replay(simulator, session)
        for index, step in enumerate(recording["exchanges"]):
            for preparation in recording["prepare"]:
                if preparation["before"] == index:
                    await replay.prepare(preparation)
            simulator.faults.update(step.get("faults", {}))
            request, recorded = dict(step["request"]), step["response"]
            request.setdefault("headers", {})
            status, content_type, body = await replay.send(**request)
            where = f"{name}[{index}] {request['method']} {request['path']} ({step.get('note')})"
            assert (status, content_type) == (recorded["status"], recorded["content_type"]), where
            if recorded["body"] is not None:
                how = How(step.get("compare", "values"))
                found = differences(recorded["body"], body, how)
                assert not found, f"{where}: {'; '.join(found)}"
                replay.learn(recorded["body"], body)


def test_comparison_notices_what_it_should() -> None:
    """A comparison that finds nothing anywhere would make the suite above worthless."""
    recorded = {"a": 1, "b": [{"c": "x"}], "d": None}
    for changed in (
        {"a": 2, "b": [{"c": "x"}], "d": None},
        {"a": True, "b": [{"c": "x"}], "d": None},
        {"a": 1, "b": [{"c": "y"}], "d": None},
        {"a": 1, "b": [], "d": None},
        {"a": 1, "b": [{"c": "x"}]},
        {"a": 1, "b": [{"c": "x"}], "d": None, "e": 1},
        {"a": 1, "b": [{"c": "x"}], "d": ""},
    ):
        assert differences(recorded, changed), changed
    assert not differences(recorded, recorded)
