"""A real PostgreSQL server of Debian's package, in a folder of its own, on a Unix socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_binaries() -> Path | None:
    """The folder of initdb and pg_ctl; they are not on the PATH in Debian."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).parent if found else None


class PostgresServer:
    """Start, stop, kill; PostgreSQL refuses to run as root, so root runs it as the user postgres."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        self._prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._prefix:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-U", "ledger", "--auth=trust", "--no-sync", "-E", "UTF8")
        with (folder / "data" / "postgresql.conf").open("a", encoding="ascii") as configuration:
            configuration.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n")

    @property
    def url(self) -> str:
        return f"postgresql://ledger@/postgres?host={self.folder}"

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop", check=False)

    def _run(self, program: str, *words: str, check: bool = True) -> None:
        command = [*self._prefix, str(self._binaries / program), *words]
        subprocess.run(command, check=check, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=120)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, removed in the end."""
    binaries = find_binaries()
    assert binaries is not None, "install Debian's package postgresql"
    with tempfile.TemporaryDirectory(prefix="ledger-pg-", dir="/tmp") as name:
        server = PostgresServer(Path(name), binaries)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
