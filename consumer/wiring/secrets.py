"""Secrets that may change while we run, by the settings: those that came from a file."""

from __future__ import annotations

from functools import partial

from pydantic import SecretStr

from consumer.settings import Settings
from consumer.telemetry.renewable_secret import RenewableSecret


def renewable_secret(
    settings: Settings, name: str, value: SecretStr | None
) -> RenewableSecret | None:
    """A secret that is read again when it is refused; None where it came from no file.

    Args:
        settings: of this process.
        name: of the setting.
        value: as it was loaded.
    """
    if value is None or name not in settings.secret_files:
        return None
    read = partial(settings.read_secret, name)
    return RenewableSecret(f"{name}_FILE", value.get_secret_value(), read)
