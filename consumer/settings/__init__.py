"""Settings: read once, checked whole, frozen. The only room that reads the environment.

    settings = from_environment(config)     # or load_settings(env, config) with values of your own
    settings.kafka.group_id                 # KAFKA_GROUP_ID, or [kafka] group_id in the file

``table.py`` holds every name, default and meaning; ``checks.py`` what they must be to each other.
"""

from __future__ import annotations

from consumer.settings.collector import collector_address, collector_secrets
from consumer.settings.load import from_environment, load_settings
from consumer.settings.problems import SettingProblem, SettingsError
from consumer.settings.table import Settings, settings_table

__all__ = [
    "SettingProblem",
    "Settings",
    "SettingsError",
    "collector_address",
    "collector_secrets",
    "from_environment",
    "load_settings",
    "settings_table",
]
