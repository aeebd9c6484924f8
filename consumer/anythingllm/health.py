"""Is AnythingLLM well? Probes without side effects, none of which passes the breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from consumer.anythingllm.api import Api
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.database_look import DatabaseLook, look_at_database
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMConnectionError,
    AnythingLLMError,
)
from consumer.anythingllm.models import (
    AnythingLLMHealth,
    CircuitBreakerHealth,
    ComponentHealth,
)
from consumer.anythingllm.transport import Errand
from consumer.model.fault import Fault
from consumer.resilience.breaker import CLOSED, Breaker

PROBE_SECONDS = 10.0  # a component that takes longer to answer is as good as down

# Without these nothing works at all; without the others searching or storing does not.
_VITAL = ("server", "key")
_DATABASE = "vector_database"

# What the deep probe names, and what to do about it.
_SERVER = ("the server", "check that it runs and that ANYTHINGLLM_ENDPOINT leads to it")
_BETWEEN = "see what stands between us and AnythingLLM, and where ANYTHINGLLM_ENDPOINT leads to"
_KEY = ("the API key", "check ANYTHINGLLM_API_KEY, it may have been deleted in AnythingLLM")
_COLLECTOR = ("its document collector", "check that its process runs beside the server's")
_DATABASE_NAME = "its vector database"
_EMBEDDER = ("its embedder", "check the embedder in AnythingLLM's settings, and its log")


async def check_health(
    api: Api,
    embedder: EmbedderInUse,
    database: DatabaseInUse,
    breaker: Breaker,
    errand: Callable[[], Errand],
    endpoint: str,
) -> AnythingLLMHealth:
    """Never raises (`AnythingLLMClient.health_check`)."""
    probes: dict[str, Callable[[Errand], Awaitable[None]]] = {
        "server": api.ping,
        "key": api.check_key,
        "collector": api.check_collector,
        "embedder": embedder.look,
    }
    *findings, version = await asyncio.gather(
        *(_try(probe, errand()) for probe in probes.values()), _version(api, errand())
    )
    components = {name: _component(error) for name, error in zip(probes, findings, strict=True)}
    components[_DATABASE] = (
        ComponentHealth(status="unknown")  # a search needs all of them
        if any(findings)
        else await _database_component(api, database, errand())
    )
    return {
        "status": _status({name for name in components if "error" in components[name]}, breaker),
        "error": _error(components, breaker.state),
        "endpoint": endpoint,
        "version": version,
        "components": components,
        "circuit_breaker": breaker_status(breaker),
    }


async def deep_probe(
    api: Api, embedder: EmbedderInUse, database: DatabaseInUse, errand: Errand
) -> DatabaseLook:
    """Whether AnythingLLM as a whole can store: key, collector, embedder, vector database, in turn.

    Args:
        api: the endpoints.
        embedder: knows how it was before.
        database: which vector database it is.
        errand: for all of them together.

    Returns:
        What was seen of the vector database: an outage may still have to be told from a loss.

    Raises:
        AnythingLLMError: the first of them that is not well, by name; theirs, or busy.
    """
    checks = (
        (api.check_key, _SERVER),
        (api.check_collector, _COLLECTOR),
        (embedder.probe, _EMBEDDER),
    )
    for check, component in checks:
        try:
            await check(errand)
        except AnythingLLMError as error:
            raise _unwell(component, error) from error
    look = await look_at_database(api, await database(errand), errand)
    if look.is_outage:
        raise _unwell((_DATABASE_NAME, look.what_to_do), AnythingLLMError(look.trouble or ""))
    return look


def silent_database(look: DatabaseLook, error: AnythingLLMError) -> AnythingLLMError:
    """The failure of a deep probe where nothing is found and a test document failed as well."""
    seen = AnythingLLMError(
        f"{look.trouble}; and {error.message}",
        fault=error.fault,
        http_status=error.http_status,
        retry_after=error.retry_after,
    )
    return _unwell((_DATABASE_NAME, look.what_to_do), seen)


def _unwell(component: tuple[str, str], error: AnythingLLMError) -> AnythingLLMError:
    if isinstance(error, AnythingLLMAuthenticationError):
        component = (_KEY[0], _BETWEEN) if error.by_intermediary else _KEY
    elif isinstance(error, AnythingLLMConnectionError):
        component = _SERVER
    name, what_to_do = component
    return type(error)(
        f"AnythingLLM is not well: {name} failed the probe ({error.message}); "
        f"nothing is uploaded until it passes: {what_to_do}",
        fault=Fault.BUSY if error.fault is Fault.BUSY else Fault.THEIRS,
        http_status=error.http_status,
        retry_after=error.retry_after,
    )


def breaker_status(breaker: Breaker) -> CircuitBreakerHealth:
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


async def _database_component(api: Api, database: DatabaseInUse, errand: Errand) -> ComponentHealth:
    looks: list[DatabaseLook] = []

    async def look(errand: Errand) -> None:
        looks.append(await look_at_database(api, await database(errand), errand))

    error = await _try(look, errand)
    if error is None:
        seen = looks[0]
        error = seen.trouble
        if error is not None and not (seen.is_outage or seen.suspects):
            error += f": {seen.what_to_do}"
    return _component(error)


def _component(error: str | None) -> ComponentHealth:
    return {"status": "up"} if error is None else {"status": "down", "error": error}


def _status(down: set[str], breaker: Breaker) -> Literal["healthy", "degraded", "unhealthy"]:
    if down & set(_VITAL):
        return "unhealthy"
    return "degraded" if down or breaker.state != CLOSED else "healthy"


def _error(components: dict[str, ComponentHealth], state: str) -> str | None:
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
