"""The whole exception tree.

::

    EnhancementError                 code, message, advice
    ├── SettingsError                our status turns red and says why; Orthanc serves on
    ├── InputError                   the study is refused with a code; nothing is stored
    │   ├── MissingRole              a required series is not in the study
    │   ├── MissingAttribute         a DICOM attribute that is needed is absent or unreadable
    │   ├── InconsistentGeometry     slices do not form one regular volume
    │   ├── UnreadablePixels         pixel data are absent, truncated or cannot be decoded
    │   ├── AmbiguousMatch           two series fit a role and nothing ranks them
    │   ├── DiffusionInputError      b-values or diffusion volumes cannot be told apart
    │   └── GateRefused              the images were read, but a quality check is beyond its hard limit
    ├── ModelError
    │   ├── WeightsMissing
    │   ├── WeightsMismatch          a file is not the one the manifest names
    │   └── OutOfMemory              the device has no room, also after every fallback
    ├── StageError
    │   ├── RegistrationFailed
    │   └── SkullStripFailed
    ├── ArchiveError                 status, uri
    ├── LedgerError                  the ledger cannot be opened, or is of another version
    └── Cancelled                    somebody asked for it, or Orthanc stops

An `InputError` is final for these inputs (REJECTED); every other error may be tried again (FAILED
after the last attempt). Messages say what was needed, what was found and what to do. They name things
by Orthanc identifier or UID, never by patient.
"""

from __future__ import annotations


class EnhancementError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        One sentence: what was needed and what was found.
    code : str, optional
        Stable upper-case identifier for machines, such as ``T1C_MISSING_SLICE``; the class' own by default.
    advice : str, optional
        What a person can do about it.
    """

    default_code = "ENHANCEMENT_ERROR"
    default_advice = ""

    def __init__(self, message: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.advice = self.default_advice if advice is None else advice


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


class SkullStripFailed(StageError):
    default_code = "SKULL_STRIP_FAILED"


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
        message: str,
        *,
        code: str | None = None,
        advice: str | None = None,
        status: int | None = None,
        uri: str | None = None,
    ) -> None:
        super().__init__(message, code=code, advice=advice)
        self.status = status
        self.uri = uri


class LedgerError(EnhancementError):
    default_code = "LEDGER"


class Cancelled(EnhancementError):
    default_code = "CANCELLED"
