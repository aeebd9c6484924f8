"""``python -m consumer.sandbox.kafka``: fetch ahead what a local Kafka needs."""

from __future__ import annotations

import asyncio
import sys

from consumer.sandbox.errors import SandboxError, SandboxUnavailable
from consumer.sandbox.kafka.modes import prefetch


def main() -> int:
    """Exit code 0, 1 where fetching failed, 2 where this machine lacks something."""
    try:
        print(asyncio.run(prefetch()))
    except SandboxUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
