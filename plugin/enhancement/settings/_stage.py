"""What every part of the settings is made of: a frozen model, and the roles of series."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

_WORDS = {"true": True, "1": True, "false": False, "0": False}


def as_number(value: object) -> object:
    """A number that an environment variable gave as text. Pydantic does this by itself, but not for a choice."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def as_boolean(value: object) -> object:
    """As `as_number`, for true and false."""
    return _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value


class Role(StrEnum):
    """The part that a series plays in the method."""

    T1 = "T1"
    T1C = "T1C"
    FLAIR = "FLAIR"
    DWI = "DWI"
    ADC = "ADC"
    T2 = "T2"
    T1C_VFA = "T1C_VFA"
    T1C_LOW = "T1C_LOW"


class Stage(BaseModel):
    """Part of the settings: PascalCase in JSON, and nothing that is not listed.

    Booleans and numbers are also taken as text ("true", "1"), because environment variables hold nothing else.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, populate_by_name=True, protected_namespaces=()
    )
