"""When a package can't be installed: is it the registry's fault, or that of the version we name?

A registry that does not answer is nothing that a test could mend, so it is skipped. Any other error
fails the test: a version that is not there, or no more, would look like a day without a network.
"""

from __future__ import annotations

import re
from typing import NoReturn

import pytest

# Words of pip, uv, npm and Maven (the last line), and of the proxies in front of them.
_UNREACHABLE = re.compile(
    r"connection refused|connection reset|error sending request|NewConnectionError|timed out|"
    r"ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|network is unreachable|"
    r"no route to host|name or service not known|temporary failure in name resolution|"
    r"tunnel connection failed|502 bad gateway|503 service unavailable|504 gateway time-?out|"
    r"could not transfer|no plugin found for prefix",
    re.IGNORECASE,
)
_LAST = 500  # characters


def is_unreachable(said: str) -> bool:
    """Whether an installer says that it could not reach its registry."""
    return _UNREACHABLE.search(said) is not None


def skip_or_fail(what: str, said: str) -> NoReturn:
    """End a test that needs what can't be installed.

    Args:
        what: the package, or the program that should have installed it.
        said: all that the installer said.
    """
    reason = f"{what} can't be installed: {said.strip()[-_LAST:]}"
    if is_unreachable(said):
        pytest.skip(reason)
    pytest.fail(reason)
