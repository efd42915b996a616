"""Two Orthancs on one archive: index and ledger in one PostgreSQL, the files in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from server.server import Orthanc, storage_folder
from unit.postgres_server import find_binaries, postgres_server

FOLDER = Path("/usr/share/orthanc/plugins")
PLUGINS = [str(FOLDER / f"libOrthanc{name}.so") for name in ("Python", "DicomWeb", "PostgreSQLIndex")]


def why_not() -> str:
    """What is missing for such a pair; empty if nothing is."""
    if find_binaries() is None:
        return "PostgreSQL is not installed"
    return "" if Path(PLUGINS[2]).exists() else "Debian's orthanc-postgresql is not installed"


@contextmanager
def shared_orthancs(
    settings: Mapping[str, Any], variables: Mapping[str, str], count: int = 2
) -> Iterator[list[Orthanc]]:
    """Running Orthancs that share everything."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        storage = stack.enter_context(storage_folder())
        shared = {
            **settings,
            "Plugins": PLUGINS,
            "PostgreSQL": {
                "EnableIndex": True,
                "EnableStorage": False,
                # Several writers at once; each retries what collides.
                "Lock": False,
                "MaximumConnectionRetries": 10,
                "ConnectionUri": f"postgresql://ledger@localhost/postgres?host={postgres.folder}",
            },
            "ContrastEnhancement.Ledger.Url": postgres.url,
        }
        servers = []
        for number in range(count):
            server = Orthanc(storage, {**shared, "DatabaseServerIdentifier": f"orthanc-{number}"}, variables=variables)
            stack.callback(server.close)
            server.start()
            servers.append(server)
        yield servers
