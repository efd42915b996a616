"""The settings as the Markdown table that README.md holds: every key, its default, what is allowed, what it means."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from enhancement.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

START, END = "<!-- settings: scripts/settings_table.py -->", "<!-- end of settings -->"


def rows(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every setting, sections opened up."""
    found = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.default, BaseModel) and not _is_value(field.default):
            found += rows(type(field.default), f"{key}.")
        else:
            default = "" if field.default is PydanticUndefined else json.dumps(_plain(field.default))
            found.append((key, default, field.description or ""))
    return found


def _is_value(default: BaseModel) -> bool:
    return set(type(default).model_fields) in ({"soft", "hard"}, {"exclude", "roles"})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, exclude_defaults=False, mode="json")
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def table() -> str:
    """The whole Markdown table."""
    lines = ["| Key | Default | Meaning |", "|-|-|-|"]
    return "\n".join(lines + [f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in rows(Settings)])


def main() -> None:
    """Write the table into README.md between its marks."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
