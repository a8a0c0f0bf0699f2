"""Hyper-parameters, presets, plugins by name, and YAML."""

from editcore.plugins.hparams import describe, from_mapping, from_settings, merge, settings_mapping
from editcore.plugins.presets import matching_preset
from editcore.plugins.registry import Registry, registry
from editcore.text.suggest import suggestion, suggestion_or_list
from editcore.text.yaml_text import line_of, parse, read_mapping, read_text

__all__ = [
    "Registry",
    "describe",
    "from_mapping",
    "from_settings",
    "line_of",
    "matching_preset",
    "merge",
    "parse",
    "read_mapping",
    "read_text",
    "registry",
    "settings_mapping",
    "suggestion",
    "suggestion_or_list",
]
