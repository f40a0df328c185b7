"""`checkpoints settings`: what is in force, where it comes from, and the same as a page for the documentation."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import PREFIX, Settings
from workers.cli.printing import print_json, print_table
from workers.cli.target import target_settings

_PASSWORD: Final = re.compile(r"(?<=:)[^:@/]*(?=@)")
_MASK: Final = "***"


def show_settings(*, as_json: bool) -> None:
    """Print every setting: its value with secrets masked, and whether it is the default.

    Raises:
        Misconfigured: Some settings are wrong.
    """
    settings = target_settings()
    found = [
        {"name": name, "value": _shown(getattr(settings, field)), "from": _source(name), "meaning": info.description}
        for name, field, info in _fields()
    ]
    if as_json:
        print_json(found)
        return
    print_table(["SETTING", "VALUE", "FROM", "MEANING"], [list(one.values()) for one in found])


def markdown() -> str:
    """Return the table of all settings for `docs/operations.md`."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {_default(info)} | {info.description} |" for name, _, info in _fields()]
    return "\n".join(lines)


def _fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for field, info in Settings.model_fields.items():
        yield PREFIX + field.upper(), field, info


def _source(name: str) -> str:
    return "environment" if name in os.environ else "default"


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return _PASSWORD.sub(_MASK, text) if "://" in text else _MASK
    return str(value) if isinstance(value, Path) else value


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "none" if info.default_factory in {list, dict} else "of this machine"
    value = _shown(info.default)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value in ("", None) else f"`{value}`"
