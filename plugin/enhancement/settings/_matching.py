"""Settings of the matching: rules as data, never expressions."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.alias_generators import to_pascal

from enhancement.settings._stage import Role, Stage, as_boolean


class Condition(Stage):
    """One test of one value of a series: a keyword, one operator and what to compare with.

    `keyword` is any DICOM keyword, or one of those that matching computes (see enhancement/dicom/matching/facts.py):
    Description, BValues, Diffusion, Contrast, Frames, OwnOutput, Vendor. Text is compared without case;
    `matches` is a regular expression that may be found anywhere, in the text as stored or in its words
    (accents, underscores and punctuation taken out). A value with several parts passes if one part does.
    """

    keyword: Annotated[str, Field(min_length=1, max_length=64)]
    matches: Annotated[str, Field(max_length=4000)] | None = None
    equals: str | float | None = None
    any_of: tuple[str | float, ...] | None = None
    at_least: float | None = None
    at_most: float | None = None
    present: Annotated[Literal[True] | None, BeforeValidator(as_boolean)] = None
    absent: Annotated[Literal[True] | None, BeforeValidator(as_boolean)] = None

    @model_validator(mode="after")
    def _one_operator(self) -> Condition:
        given = self.model_fields_set - {"keyword"}
        given = {name for name in given if getattr(self, name) is not None}
        if len(given) != 1:
            raise ValueError(
                "needs exactly one of Matches, Equals, AnyOf, AtLeast, AtMost, Present, Absent, "
                f"found {', '.join(to_pascal(name) for name in sorted(given)) or 'none'}"
            )
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"Matches is not a regular expression (position {error.pos})") from None
        return self


class Rule(Stage):
    """A series fits when every condition of `all` holds and none of `none` does."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    all: Annotated[tuple[Condition, ...], Field(min_length=1)]
    none: tuple[Condition, ...] = ()


class Rules(Stage):
    """Which series play which role: `exclude` names what plays none, `roles` lists what plays each, tried in order."""

    exclude: tuple[Rule, ...] = ()
    roles: dict[Role, tuple[Rule, ...]] = Field(default_factory=dict)


class MatchingSettings(Stage):
    """Which series plays which role."""

    rules: Rules | None = Field(default=None, description="Rules that take the place of all built-in ones.")
    extra_rules: Rules = Field(default=Rules(), description="Rules that are tried before the built-in ones.")
    contrast_marks: tuple[str, ...] = Field(
        default=(),
        description=(
            "Words in a series' description that say here that contrast agent was given, besides those that are known."
        ),
    )
    no_contrast_marks: tuple[str, ...] = Field(
        default=(),
        description=(
            "Words in a series' description that say here that no contrast agent was given, besides those that "
            "are known."
        ),
    )
