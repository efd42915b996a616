"""The tree of errors, and the `Problem` that each of them states.

::

    EnhancementError                 holds a Problem: code, reason, advice
    ├── SettingsError                our status turns red and says why; Orthanc serves on
    ├── InputError                   the study is refused with a code; nothing is stored
    │   ├── MissingRole              a required series is not in the study
    │   ├── MissingAttribute         a DICOM attribute that is needed is absent or unreadable
    │   ├── InconsistentGeometry     slices do not form one regular volume
    │   ├── UnreadablePixels         pixel data are absent, truncated or cannot be decoded
    │   ├── AmbiguousMatch           two series fit a role and nothing ranks them
    │   ├── DiffusionInputError      b-values or diffusion volumes cannot be told apart
    │   └── GateRefused              the images were read, but a check of the gate is beyond its hard limit
    ├── ModelError
    │   ├── WeightsMissing
    │   ├── WeightsMismatch          a file is not the one the manifest names
    │   └── OutOfMemory              the device has no room, also after every fallback
    ├── StageError
    │   ├── RegistrationFailed
    │   ├── BrainExtractionFailed
    │   └── JobTimeout               the watchdog ended the job
    ├── ArchiveError                 status, uri
    ├── LedgerError                  the ledger cannot be opened, or is of another version
    └── Cancelled                    somebody asked for it, or Orthanc stops

An `InputError` is final for these inputs (REJECTED); every other error may be tried again (FAILED
after the last attempt). Messages say what was needed, what was found and what to do. They name things
by Orthanc identifier or UID, never by patient.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What is wrong, why, and what a person can do about it.

    This one value passes from an error to the ledger's row, to the light and to the HTTP answer.

    Parameters
    ----------
    code : str
        Stable upper-case identifier for machines, such as ``T1C_MISSING_SLICE``. Empty where nothing is wrong; `reason`
        is then a remark, if there is one.
    reason : str
        One sentence: what was needed and what was found.
    advice : str
        What a person can do about it; empty where nobody can do anything.
    """

    code: str = ""
    reason: str = ""
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """``{"code": ..., "reason": ..., "advice": ...}``, the form that a problem has in every answer."""
        return {"code": self.code, "reason": self.reason, "advice": self.advice}


NO_PROBLEM = Problem()


class EnhancementError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    reason, code, advice : str
        As in `Problem`; code and advice are the class' own by default.
    """

    default_code = "ENHANCEMENT_ERROR"
    default_advice = ""

    def __init__(self, reason: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(reason)
        self.problem = Problem(code or self.default_code, reason, self.default_advice if advice is None else advice)

    @property
    def code(self) -> str:
        """The problem's code."""
        return self.problem.code

    @property
    def reason(self) -> str:
        """The problem's reason."""
        return self.problem.reason


class SettingsError(EnhancementError):
    default_code = "SETTINGS"
    default_advice = "Correct the ContrastEnhancement section of orthanc.json and restart Orthanc."


class InputError(EnhancementError):
    """The study cannot be processed as it is; trying again without a change is of no use."""

    default_code = "INPUT"


class MissingRole(InputError):
    default_code = "MISSING_ROLE"


class MissingAttribute(InputError):
    default_code = "MISSING_ATTRIBUTE"


class InconsistentGeometry(InputError):
    default_code = "INCONSISTENT_GEOMETRY"


class UnreadablePixels(InputError):
    default_code = "UNREADABLE_PIXELS"


class AmbiguousMatch(InputError):
    default_code = "AMBIGUOUS_MATCH"


class DiffusionInputError(InputError):
    default_code = "DIFFUSION"


class GateRefused(InputError):
    default_code = "GATE"


class ModelError(EnhancementError):
    default_code = "MODEL"


class WeightsMissing(ModelError):
    default_code = "WEIGHTS_MISSING"
    default_advice = "Install the model folder named in the settings, with its manifest.json and every fold."


class WeightsMismatch(ModelError):
    default_code = "WEIGHTS_MISMATCH"
    default_advice = "Install the model folder again from a trusted copy."


class OutOfMemory(ModelError):
    default_code = "OUT_OF_MEMORY"
    default_advice = "Free memory on the device, or let Devices name another one."


class StageError(EnhancementError):
    default_code = "STAGE"


class RegistrationFailed(StageError):
    default_code = "REGISTRATION_FAILED"


class BrainExtractionFailed(StageError):
    default_code = "SKULL_STRIP_FAILED"


class JobTimeout(StageError):
    default_code = "TIMEOUT"
    default_advice = "Raise ContrastEnhancement.Limits.JobSeconds, or look for what slows this machine down."


class ArchiveError(EnhancementError):
    """The archive refused or failed.

    Parameters
    ----------
    status : int, optional
        HTTP or DIMSE status, where there was one.
    uri : str, optional
        What was asked for.
    """

    default_code = "ARCHIVE"

    def __init__(
        self,
        reason: str,
        *,
        code: str | None = None,
        advice: str | None = None,
        status: int | None = None,
        uri: str | None = None,
    ) -> None:
        super().__init__(reason, code=code, advice=advice)
        self.status = status
        self.uri = uri


class LedgerError(EnhancementError):
    default_code = "LEDGER"


class Cancelled(EnhancementError):
    default_code = "CANCELLED"
