"""What `check` says of the address of the probes and metrics: `run` does not start without it."""

from __future__ import annotations

import asyncio
import errno

from consumer.kafka.topics import CheckFinding
from consumer.settings import Settings


async def look_at_admin(settings: Settings) -> list[CheckFinding]:
    """Whether it can be listened on, by listening on it for a moment; nothing where it can."""
    host, port = settings.admin.host, settings.admin.port
    subject = "admin address"
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"{host}:{port} is in use, as it should be where the service runs"
            return [CheckFinding(True, subject, text, "else set ADMIN_PORT to a free one")]
        why = error.strerror or type(error).__name__
        text = f"can't listen on {host}:{port}: {why}"
        return [CheckFinding(False, subject, text, "set ADMIN_HOST and ADMIN_PORT")]
    server.close()
    await server.wait_closed()
    return []
