"""All groups together: the `Settings` everybody gets, and the table for loader and README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from consumer.settings.groups import (
    AdminSettings,
    AnythingLLMSettings,
    BreakerSettings,
    DocumentSettings,
    FuseSettings,
    IndexSettings,
    IntakeSettings,
    KafkaSettings,
    LogSettings,
    RemovalSettings,
    ReplaySettings,
    RoutingSettings,
    SettingSpec,
    ShutdownSettings,
    TracingSettings,
    UploadSettings,
)
from consumer.settings.kinds import secret_from

# What settling still needs after the last upload of a revoked partition came back: commit, leave.
REBALANCE_MARGIN_SECONDS = 35.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, checked; `consumer.settings.load_settings` makes one.

    Args:
        warnings: things that are allowed but probably not meant, one line each, for the log.
        secret_files: which secrets came from a file, by their name without ``_FILE``.
        given_as: how each setting that somebody gave was given: ``KAFKA_GROUP_ID`` or
            ``[kafka] group_id``, by its name.
    """

    anythingllm: AnythingLLMSettings
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    fuse: FuseSettings = field(default_factory=FuseSettings)
    upload: UploadSettings = field(default_factory=UploadSettings)
    removal: RemovalSettings = field(default_factory=RemovalSettings)
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    document: DocumentSettings = field(default_factory=DocumentSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    shutdown: ShutdownSettings = field(default_factory=ShutdownSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    warnings: tuple[str, ...] = ()
    secret_files: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    given_as: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    @property
    def revocation_seconds(self) -> float:
        """How long a revocation waits for work that is in the middle of a request.

        Uploads that were already sent answer in this time, and their results are published.
        """
        return self.upload.timeout_seconds + self.kafka.delivery_timeout_seconds

    @property
    def rebalance_timeout_seconds(self) -> float:
        """How long the group must wait for us when it deals out partitions anew.

        If it waited for less than a revocation takes, another instance would start on the same
        documents meanwhile.
        """
        needed = self.revocation_seconds + REBALANCE_MARGIN_SECONDS
        return max(self.kafka.session_timeout_seconds, needed)

    def read_secret(self, name: str) -> str:
        """A secret as its file has it now.

        Args:
            name: one of `secret_files`.

        Raises:
            OSError: the file can't be read.
            ValueError: it holds no such secret; the text says why, and not what it holds.
        """
        found: SecretStr = TABLE[name].spec.kind.parse(secret_from(self.secret_files[name]))
        return found.get_secret_value()

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be seen, for the log's mask."""
        kafka = self.kafka
        held = (
            self.anythingllm.api_key,
            *(each.api_key for each in self.anythingllm.endpoints or ()),
            kafka.sasl_password,
            kafka.sasl_oauth_client_secret,
            kafka.ssl_key_password,
        )
        return tuple(one.get_secret_value() for one in held if one is not None)


GROUPS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "kafka": KafkaSettings,
        "anythingllm": AnythingLLMSettings,
        "breaker": BreakerSettings,
        "fuse": FuseSettings,
        "upload": UploadSettings,
        "removal": RemovalSettings,
        "intake": IntakeSettings,
        "index": IndexSettings,
        "document": DocumentSettings,
        "routing": RoutingSettings,
        "shutdown": ShutdownSettings,
        "replay": ReplaySettings,
        "admin": AdminSettings,
        "log": LogSettings,
        "tracing": TracingSettings,
    }
)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting: its name in the environment, where it sits, and its `SettingSpec`."""

    name: str
    group: str
    key: str
    spec: SettingSpec


def _rows() -> Iterator[SettingRow]:
    for group, kind in GROUPS.items():
        for one in fields(kind):
            if "spec" in one.metadata:
                name = f"{group}_{one.name}".upper()
                yield SettingRow(name, group, one.name, one.metadata["spec"])


TABLE: Mapping[str, SettingRow] = MappingProxyType({row.name: row for row in _rows()})


def settings_table() -> str:
    """The table for the README, in Markdown; a test holds the README to it."""
    lines = ["| name | default | allowed | what it is |", "| --- | --- | --- | --- |"]
    for row in TABLE.values():
        shown = f"`{row.spec.default}`" if row.spec.default is not None else "none"
        default = "**required**" if row.spec.required else shown
        kind = row.spec.kind
        allowed = f"{kind.allowed}; or `{row.name}_FILE`" if kind.secret else kind.allowed
        lines.append(f"| `{row.name}` | {default} | {allowed} | {row.spec.meaning} |")
    return "\n".join(lines) + "\n"
