"""The ledger: one durable row per study x recipe x inputs, from the first look to the stored result.

It is safe from any thread and from several processes. It knows nothing of DICOM, of Orthanc or of the method: whoever
works asks for a job (`claim`), keeps its lease alive (`leases.Hold`) and says how it ended (`finish`).

Exactly one result comes of work that may be done more than once: the key (archive, study, recipe, fingerprint) is
unique, the database allows one RUNNING and one STORED row per study and recipe, and only the holder of the claim can
end it. Results have deterministic UIDs, so that work done twice is stored once.
"""

from __future__ import annotations

from enhancement.ledger.claims import Claims
from enhancement.ledger.requests import Requests


class Ledger(Requests, Claims):
    """All jobs of one archive; see `LedgerCore` for how to open it."""
