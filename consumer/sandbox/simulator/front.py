"""From an HTTP request to an answer: faults, JSON, key, route; in the order of the real server.

The order matters to clients: malformed JSON answers 400 with a web page before anybody looks at the
key, and an unknown path answers 200 with a web page whatever the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import unquote

import orjson
from aiohttp import web

from consumer.sandbox.simulator import wire
from consumer.sandbox.simulator.endpoints import ROUTES, Endpoints, Route
from consumer.sandbox.simulator.exchange import (
    FAILED,
    NO_KEY,
    NOT_JSON,
    TEXT,
    WEB_PAGE,
    Exchange,
    WireAnswer,
)
from consumer.sandbox.simulator.fault_rules import AFTER, FLAGS, INSTEAD, Action, FaultKind, Rule
from consumer.sandbox.simulator.gateway import Gateway
from consumer.sandbox.simulator.jsontext import loads
from consumer.sandbox.simulator.model import POLL_SECONDS, Model


class Front:
    """The way in.

    Args:
        endpoints: what the routes lead to.
        model: asked for its faults and journal.
        api_key: the only key that is accepted.
        now: the server's clock: answers and rows tell the same time.
        kill: has the server die for so many seconds.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        model: Model,
        api_key: str,
        now: Callable[[], datetime],
        kill: Callable[[float], None],
    ) -> None:
        self._now = now
        self._kill = kill
        self._gateway = Gateway()
        self._is_dead = False
        self._endpoints = endpoints
        self._model = model
        self._journal = model.journal
        self.api_key = api_key
        self._late: set[asyncio.Task[WireAnswer]] = set()

    def start(self) -> None:
        """The server is there (again)."""
        self._is_dead = False

    def stop(self) -> None:
        """The server is killed: what should take effect later never does."""
        for task in self._late:
            task.cancel()

    def die(self, seconds: float, status: int | None) -> None:
        """Be gone for so many seconds; with a status a proxy before it answers that meanwhile."""
        if self._gateway.is_lost or self._is_dead:
            return
        self._journal.record("server.killed", seconds=seconds)
        if status is None:
            self._is_dead = True
            self._kill(seconds)
        else:
            self.stop()
            self._gateway.lose(status, seconds)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, or break it as the faults say."""
        return await self._gateway.passing(lambda: self._handle(request))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        rules = await self._struck(request)
        actions = [rule.action for rule in rules]
        flags = frozenset(action.kind for action in actions) & FLAGS
        instead = next((action for action in actions if action.kind in INSTEAD), None)
        if instead is not None and instead.apply:
            await self._apply(request, flags, instead.late and instead.seconds + instead.late)
        if instead and instead.kind is FaultKind.KILL:
            await self._die(request, instead)
        if instead is not None and instead.seconds:
            await request.read()  # as in `_struck`
            await asyncio.sleep(instead.seconds)
        if instead and instead.kind in (FaultKind.RESET, FaultKind.FIN):
            return wire.cut(request, reset=instead.kind is FaultKind.RESET)
        answer = _said(instead) if instead else await self._answer(request, flags)
        await self._hold(request, rules, FaultKind.HOLD_AFTER)
        method, path = request.method, request.path
        self._journal.record("request.answered", method=method, path=path, status=answer.status)
        after = next((action for action in actions if action.kind in AFTER), None)
        return await wire.send(request, answer, after, self._now())

    async def _die(self, request: web.BaseRequest, action: Action) -> None:
        """Die of a request; it never returns."""
        await request.read()
        self.die(action.seconds, action.status if action.gateway else None)
        await asyncio.get_running_loop().create_future()  # it is cancelled

    async def _struck(self, request: web.BaseRequest) -> list[Rule]:
        """The rules that strike this request; delays and first holds are over when this returns."""
        faults = self._model.faults
        if faults.latency:
            await request.read()
            await asyncio.sleep(faults.latency)
        if not faults.rules:
            return []
        needs_text = any(rule.contains or rule.longer for rule in faults.rules)
        said = _said_by(await request.read()) if needs_text else ""
        rules: list[Rule] = []
        for rule in tuple(faults.rules):
            if self._taken(rules, rule) or not rule.take(request.method, _folded(request), said):
                continue
            kind = rule.action.kind
            self._journal.record("fault.fired", kind=kind, method=request.method, path=request.path)
            rules.append(rule)
        if any(rule.action.kind in (FaultKind.DELAY, FaultKind.HOLD) for rule in rules):
            # Read before the wait: a client that leaves meanwhile does not stop the real server.
            await request.read()
        await asyncio.sleep(
            sum(r.action.seconds for r in rules if r.action.kind is FaultKind.DELAY)
        )
        await self._hold(request, rules, FaultKind.HOLD)
        return rules

    def _taken(self, rules: Sequence[Rule], rule: Rule) -> bool:
        """A request has one answer: the first rule that speaks for it keeps the others quiet."""
        speaking = INSTEAD | AFTER
        return rule.action.kind in speaking and any(r.action.kind in speaking for r in rules)

    async def _hold(self, request: web.BaseRequest, rules: Sequence[Rule], kind: FaultKind) -> None:
        for rule in rules:
            if rule.action.kind is not kind:
                continue
            self._journal.record("request.held", path=request.path)
            while self._holds(rule):  # noqa: ASYNC110 - rules are plain values, nobody signals
                await asyncio.sleep(POLL_SECONDS)

    def _holds(self, rule: Rule) -> bool:
        return not rule.released and any(each is rule for each in self._model.faults.rules)

    async def _apply(
        self, request: web.BaseRequest, flags: frozenset[FaultKind], late: float
    ) -> None:
        """Let the request take effect, now or later; its answer goes to nobody."""
        if not late:
            await self._answer(request, flags)
            return
        await request.read()

        async def later() -> WireAnswer:
            await asyncio.sleep(late)
            return await self._answer(request, flags)

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _answer(self, request: web.BaseRequest, flags: frozenset[FaultKind]) -> WireAnswer:
        async with self._model.thread():
            pass
        if request.method == "OPTIONS":
            return WireAnswer(204, "", b"")
        try:
            body = _body_of(request, await request.read())
        except orjson.JSONDecodeError:
            return NOT_JSON
        method = "GET" if request.method == "HEAD" else request.method
        route, params = _routed(method, request)
        if route is None:
            return WEB_PAGE
        if route.needs_key and not self._has_key(request, flags):
            return NO_KEY
        if isinstance(body, str):
            try:
                body = loads(body)
            except orjson.JSONDecodeError:
                return FAILED
        exchange = Exchange(dict(request.query), body, params, flags)
        return await route.handler(self._endpoints, exchange)

    def _has_key(self, request: web.BaseRequest, flags: frozenset[FaultKind]) -> bool:
        """Only the second word of the header is read, whatever the first one is."""
        if self._model.faults.key_revoked or FaultKind.KEY_REFUSED in flags:
            return False
        words = request.headers.get("Authorization", "").split(" ")
        return len(words) > 1 and words[1] == self.api_key


def _folded(request: web.BaseRequest) -> str:
    return request.path.lower().rstrip("/")


def _routed(method: str, request: web.BaseRequest) -> tuple[Route | None, tuple[str, ...]]:
    """The route of a path; its case and a trailing slash don't matter, an encoded slash is none."""
    path = request.rel_url.raw_path.removesuffix("/")
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, tuple(map(unquote, match.groups()))
    return None, ()


def _body_of(request: web.BaseRequest, raw: bytes) -> object:
    """A JSON body as a value, a text body as it is, anything else as an empty object."""
    if request.content_type == "text/plain":
        return raw.decode(errors="replace") or {}
    if request.content_type != "application/json" or not raw:
        return {}
    if raw.lstrip()[:1] not in (b"{", b"["):
        # Express refuses anything but an object or a list at the top.
        raise orjson.JSONDecodeError("not an object", "", 0)
    return loads(raw)


def _said_by(raw: bytes) -> str:
    """The text that a rule's ``contains`` looks at."""
    try:
        body = loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
    if not isinstance(body, dict):
        return ""
    spoken = [body.get(key) for key in ("textContent", "query", "input", "name", "names")]
    return "\n".join(str(each) for each in spoken if each is not None)


def _said(action: Action) -> WireAnswer:
    match action.kind:
        case FaultKind.HTML:
            return WEB_PAGE
        case FaultKind.REDIRECT:
            where = {"Location": action.body}
            return WireAnswer(307, TEXT, b"Temporary Redirect", where, is_own=False)
        case _:
            headers = {k: v for k, v in action.headers.items() if k.lower() != "content-type"}
            kinds = [v for k, v in action.headers.items() if k.lower() == "content-type"]
            kind = kinds[0] if kinds else TEXT
            # AnythingLLM's own refusals have no effect: where there is one, somebody else refused.
            is_own = not action.apply and not action.body.lstrip().startswith("<")
            return WireAnswer(action.status, kind, action.body.encode(), headers, is_own)
