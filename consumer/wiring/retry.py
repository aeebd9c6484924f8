"""Attempts and pauses, by the settings."""

from __future__ import annotations

from consumer.resilience.retry import RetryPolicy
from consumer.settings import Settings


def retry_policy(settings: Settings) -> RetryPolicy:
    """Attempts and pauses of uploads."""
    upload = settings.upload
    return RetryPolicy(upload.attempts, upload.backoff_base_seconds, upload.backoff_cap_seconds)
