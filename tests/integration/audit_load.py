"""Audits in a process of its own, and tells what that cost: one JSON object on standard output.

``python -m tests.integration.audit_load`` takes the service's settings from the environment.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from consumer.operations.audit.audit import open_audit
from consumer.operations.audit.findings import AuditSummary
from consumer.settings import from_environment
from consumer.telemetry.logs import set_up_logging
from consumer.wiring.kafka import kafka_clients
from tests.integration.index_load import forget_peak, memory


async def load() -> dict[str, Any]:
    summary = AuditSummary()
    settings = from_environment()
    async with open_audit(settings, kafka_clients(settings), rng=random.Random(1)) as audit:
        idle = memory("VmRSS")
        forget_peak()
        began = time.monotonic()
        await audit.look()
        found = sum(1 for _ in audit.found(summary))
        return {
            "documents": summary.documents,
            "found": found,
            "states": {str(state): count for state, count in summary.states.items()},
            "seconds": round(time.monotonic() - began, 1),
            "idle_bytes": idle,
            "peak_bytes": memory("VmHWM") - idle,
        }


if __name__ == "__main__":
    set_up_logging(level="error")
    json.dump(asyncio.run(load()), sys.stdout)
