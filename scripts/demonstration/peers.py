"""A scanner that sends a study by C-STORE, and a viewer that fetches a series by C-MOVE."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import cast

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

HOST = "127.0.0.1"
STUDY_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")  # PS3.4 C.6.2.3
ANSWER_S = 300
"""How long a peer may take to answer: a busy machine is not a broken one."""
SUCCESS, PENDING = 0x0000, {0xFF00, 0xFF01}


def free_ports(count: int) -> list[int]:
    """TCP ports of this machine that nothing listens on, no two of them the same."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((HOST, 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def _entity(ae_title: str) -> AE:
    entity = AE(ae_title=ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_S
    return entity


def send_study(files: Sequence[Path], *, port: int, called_aet: str, sent: Callable[[], None]) -> None:
    """Send DICOM files to Orthanc over one association, as a scanner would.

    Raises
    ------
    ConnectionError
        If the association is refused or an instance is not stored.
    """
    entity = _entity("SCANNER")
    entity.add_requested_context(MRImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = entity.associate(HOST, port, ae_title=called_aet)
    if not association.is_established:
        raise ConnectionError(f"Orthanc refused the association on DICOM port {port}")
    try:
        for file in files:
            status = association.send_c_store(dcmread(file))
            if "Status" not in status:
                raise ConnectionError(f"{file.name} was not stored: the association was lost, or no answer came")
            if status.Status != SUCCESS:
                raise ConnectionError(f"{file.name} was not stored: status 0x{status.Status:04x}")
            sent()
    finally:
        association.release()


@dataclass
class Viewer:
    """A storage SCP that asks Orthanc for a series and keeps what arrives."""

    ae_title: str = "VIEWER"
    port: int = field(default_factory=lambda: free_ports(1)[0])
    received: list[Dataset] = field(default_factory=list)

    def __enter__(self) -> Viewer:
        entity = _entity(self.ae_title)
        entity.add_supported_context(MRImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        self._lock = threading.Lock()
        # Without blocking, `start_server` returns the server; its annotation also covers the blocking call.
        self._server = cast(
            ThreadedAssociationServer,
            entity.start_server((HOST, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        with self._lock:
            self.received.append(ds)
        return SUCCESS

    def move(self, *, study_uid: str, series_uid: str, port: int, called_aet: str) -> list[Dataset]:
        """Fetch one series by C-MOVE.

        Raises
        ------
        ConnectionError
            If Orthanc refuses, or reports a failed sub-operation.
        """
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID = study_uid
        query.SeriesInstanceUID = series_uid
        entity = _entity(self.ae_title)
        entity.add_requested_context(STUDY_ROOT_MOVE)
        association = entity.associate(HOST, port, ae_title=called_aet)
        if not association.is_established:
            raise ConnectionError(f"Orthanc refused the query association on DICOM port {port}")
        model = STUDY_ROOT_MOVE
        try:
            for status, _ in association.send_c_move(query, self.ae_title, model):
                code = status.get("Status")
                if code is None:
                    raise ConnectionError(f"C-MOVE of series {series_uid}: the association was lost, or no answer came")
                if code not in PENDING and code != SUCCESS:
                    raise ConnectionError(f"C-MOVE of series {series_uid} failed with status 0x{code:04x}")
        finally:
            association.release()
        return list(self.received)
