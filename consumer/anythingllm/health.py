"""Is AnythingLLM well? Four probes without side effects, none of which passes the breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.transport import Errand
from consumer.resilience.breaker import CLOSED, Breaker

# Without these nothing works at all; without the others searching or storing does not.
_VITAL = ("server", "key")


async def check_health(
    api: Api, breaker: Breaker, errand: Callable[[], Errand], endpoint: str
) -> dict[str, Any]:
    """Never raises (`AnythingLLMClient.health_check`)."""
    probes: dict[str, Callable[[Errand], Awaitable[None]]] = {
        "server": api.ping,
        "key": api.check_key,
        "collector": api.check_collector,
        "embedder": api.check_embedder,
    }
    *findings, version = await asyncio.gather(
        *(_try(probe, errand()) for probe in probes.values()), _version(api, errand())
    )
    components = {
        name: {"status": "up"} if error is None else {"status": "down", "error": error}
        for name, error in zip(probes, findings, strict=True)
    }
    return {
        "status": _status({name for name in probes if "error" in components[name]}, breaker.state),
        "error": _error(components, breaker.state),
        "endpoint": endpoint,
        "version": version,
        "components": components,
        "circuit_breaker": breaker_status(breaker),
    }


def breaker_status(breaker: Breaker) -> dict[str, Any]:
    """The breaker as JSON shows it."""
    snapshot = breaker.snapshot()
    at = snapshot.last_failure
    return {
        "state": snapshot.state,
        "failure_count": snapshot.failure_count,
        "last_failure": at.isoformat() if at else None,
        "last_error": snapshot.last_error,
        "retry_after": round(snapshot.retry_after, 1),
    }


def _status(down: set[str], state: str) -> str:
    if down & set(_VITAL):
        return "unhealthy"
    return "degraded" if down or state != CLOSED else "healthy"


def _error(components: dict[str, dict[str, str]], state: str) -> str | None:
    problems = [f"{name}: {each['error']}" for name, each in components.items() if "error" in each]
    if not problems and state != CLOSED:
        problems = [f"the circuit breaker is {state}"]
    return "; ".join(problems) or None


async def _try(probe: Callable[[Errand], Awaitable[None]], errand: Errand) -> str | None:
    try:
        await probe(errand)
    except AnythingLLMError as error:
        return error.message
    except Exception as error:  # a health check that raises can't say what is wrong
        return f"the probe failed ({type(error).__name__})"
    return None


async def _version(api: Api, errand: Errand) -> str | None:
    try:
        return await api.version(errand)
    except Exception:  # older servers have no such path; the version is a courtesy
        return None
