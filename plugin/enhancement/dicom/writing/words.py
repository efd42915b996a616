"""What a recipe's result is called, in the words and codes of the standard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """All that the headers of an enhanced series say of the method, whatever the study.

    Attributes
    ----------
    series_description : str
        It tells by itself that the series was not acquired.
    image_type : str
        Value 4 of Image Type: upper-case letters, digits and underscores, 16 at most.
    derivation : str
        The first words of Derivation Description; in brackets behind them stand recipe and model.
    derivation_code : (value, meaning)
        In Derivation Code Sequence, in this software's own coding scheme: the standard has none for neural synthesis.
    comments : str
        The first sentences of Image Comments: what it is, and how to read it.
    reference : str
        The series that the result lies on, in people's words, such as "T1c".
    changed : str
        What the first of two windows is for, where one is not enough.
    series_number : int
        Added to 9000 where the source has no Series Number; else the result has the source's, and is shown beside it.
    """

    series_description: str
    image_type: str
    derivation: str
    derivation_code: tuple[str, str]
    comments: str
    reference: str
    changed: str
    series_number: int
