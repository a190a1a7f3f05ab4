"""Keys of `config.json` that are in a section of it, written with a dot: `attn_config.clip_qkv`."""

from collections.abc import Mapping
from typing import Any


def get(config: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of a key, or the default where it or its section is missing."""
    section, _, name = key.rpartition(".")
    values = config if not section else config.get(section) or {}
    return values.get(name, default)


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with these values, and all others as they are."""
    result = dict(config)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if section:
            result[section] = {**(result.get(section) or {}), name: value}
        else:
            result[name] = value
    return result
