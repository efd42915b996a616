"""What every part of the settings is made of: a frozen model, and the roles of series."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal


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
    """Part of the settings: PascalCase in JSON, and nothing that is not listed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, populate_by_name=True, protected_namespaces=()
    )
