"""The ledger's database: opens it, migrates it, watches its file, and says its faults in words.

It is SQLite in WAL mode, or PostgreSQL. Every wait is bounded (`busy_s`), because Orthanc's HTTP callbacks wait too.

An SQLite file that was deleted or damaged is replaced by an empty one; the damaged one is kept beside it. `generation`
then grows, and the ledger is rebuilt from the archive, which holds every result.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url

from enhancement.errors import LedgerError
from enhancement.ledger import migrations

log = structlog.get_logger("enhancement.ledger")

_WRITE = "ledger_write"
_MIGRATION_LOCK = 5_468_001
_CONNECT_S = 3
_SIBLINGS = ("", "-wal", "-shm", "-journal")


def describe(error: exc.SQLAlchemyError) -> LedgerError:
    """What a database error means for whoever runs the ledger; statements and values stay out of the text."""
    original = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
    lowered = original.lower()
    if lowered.startswith("invalid "):  # what the driver cannot read, it quotes: a piece of a password, maybe
        original = "Ledger.Url has a part that the driver does not know"
    for words, code, advice in _FAULTS:
        if any(word in lowered for word in words):
            return LedgerError(f"the ledger cannot be used: {original}", code=code, advice=advice)
    if isinstance(error, exc.TimeoutError):
        return LedgerError("the ledger is busy", code="LEDGER_BUSY", advice=_BUSY_ADVICE)
    return LedgerError(
        f"the ledger cannot be used: {original}",
        code="LEDGER_UNREACHABLE",
        advice="See that the database server of Ledger.Url runs and accepts this user.",
    )


_BUSY_ADVICE = "Try again; if it lasts, look for another program that holds the ledger."
_FAULTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        (
            "database is locked",
            "table is locked",
            "lock timeout",
            "statement timeout",
            "deadlock",
            "could not serialize",
        ),
        "LEDGER_BUSY",
        _BUSY_ADVICE,
    ),
    (
        ("malformed", "not a database", "file is encrypted", "disk i/o error", "no such table"),
        "LEDGER_CORRUPT",
        "The damaged file is kept beside a new ledger; restore it from a backup only if its history matters.",
    ),
    (("disk is full", "no space left", "disk full"), "LEDGER_FULL", "Free space on the ledger's disk."),
    (
        ("readonly", "unable to open", "permission denied", "attempt to write"),
        "LEDGER_UNWRITABLE",
        "Give Orthanc's user write access to the ledger's folder, or name another place in Ledger.Url.",
    ),
)


class Database:
    """Transactions on one ledger.

    Parameters
    ----------
    url : str
        ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    busy_s : float, seconds
        The longest that a call waits for another one's lock.
    synchronous : {"FULL", "NORMAL"}
        SQLite only: NORMAL may lose the last commits when the power fails, not when a process dies.
    rebuild : bool
        Replace a damaged SQLite file by an empty ledger instead of refusing to open it.

    Raises
    ------
    LedgerError
        LEDGER_UNWRITABLE, LEDGER_CORRUPT, LEDGER_NEWER, LEDGER_BUSY or LEDGER_UNREACHABLE.
    """

    def __init__(self, url: str, *, busy_s: float = 2.0, synchronous: str = "FULL", rebuild: bool = True) -> None:
        self.url = _parse(url)
        self.generation = 0
        self._busy_s = busy_s
        self._synchronous = synchronous
        self._rebuild = rebuild
        self._opening = threading.Lock()
        self._suspect = False
        self._identity: tuple[int, int] | None = None
        self._engine = self._create_engine()
        with self._opening:
            self._open()

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; it waits for no writer."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; on SQLite it is the only one (BEGIN IMMEDIATE)."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        self._ensure_present()
        try:
            with self._engine.connect().execution_options(**{_WRITE: write}) as connection, connection.begin():
                yield connection
        except exc.IntegrityError:
            raise
        except exc.SQLAlchemyError as error:
            described = describe(error)
            self._suspect = self._suspect or (self.is_sqlite and described.code == "LEDGER_CORRUPT")
            raise described from error

    def _ensure_present(self) -> None:
        """Notice that somebody deleted, replaced or damaged the file under us; open another in its place."""
        if not self.is_sqlite or (not self._suspect and self._file_identity() == self._identity):
            return
        with self._opening:
            if self._suspect or self._file_identity() != self._identity:
                before = self._file_identity() and self._identity
                log.warning("ledger lost", deleted=before is None, suspect=self._suspect)
                self._engine.dispose()
                self._open()
                if self._identity != before:
                    self.generation += 1
                self._suspect = False

    def _open(self) -> None:
        try:
            self._prepare_file()
            self._migrate()
        except exc.SQLAlchemyError as error:
            described = describe(error)
            if not (self.is_sqlite and self._rebuild and described.code == "LEDGER_CORRUPT"):
                raise described from error
            self._set_aside()
            self._open_anew()
        self._identity = self._file_identity()

    def _open_anew(self) -> None:
        try:
            self._prepare_file()
            self._migrate()
        except exc.SQLAlchemyError as error:
            raise describe(error) from error

    def _prepare_file(self) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                # A write-ahead log without its database belongs to a file that is gone.
                for suffix in _SIBLINGS[1:]:
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise LedgerError(
                f"the ledger cannot be created in {self.path.parent}: {error.strerror}",
                code="LEDGER_UNWRITABLE",
                advice="Give Orthanc's user write access to that folder, or name another place in Ledger.Url.",
            ) from error
        with self._engine.connect() as connection:
            result = connection.execute(text("PRAGMA quick_check(1)")).scalar()
            if result != "ok":
                raise exc.DatabaseError("PRAGMA quick_check", None, Exception("database disk image is malformed"))
        self._enter_wal()

    def _enter_wal(self) -> None:
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        except Exception as error:
            raise exc.OperationalError("PRAGMA journal_mode", None, error) from error
        finally:
            raw.close()

    def _migrate(self) -> None:
        with self._engine.connect().execution_options(**{_WRITE: True}) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            migrations.upgrade(connection)

    def _set_aside(self) -> None:
        """Rename the damaged file and its siblings; an operator may want to look at them."""
        self._engine.dispose()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        for suffix in _SIBLINGS:
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{self.path}.damaged-{stamp}{suffix}")
        log.error("ledger damaged, set aside", suffix=f".damaged-{stamp}")

    def _file_identity(self) -> tuple[int, int] | None:
        if self.path is None:
            return None
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _create_engine(self) -> Engine:
        options: dict[str, Any] = {
            "pool_size": 5,
            "max_overflow": 20,
            "pool_timeout": self._busy_s,
            "hide_parameters": True,
        }
        if not self.is_sqlite:
            milliseconds = int(self._busy_s * 1000)
            options["pool_pre_ping"] = True
            options["connect_args"] = {
                "connect_timeout": _CONNECT_S,
                "options": f"-c lock_timeout={milliseconds} -c statement_timeout={2 * milliseconds}",
                "keepalives_idle": 10,
                "tcp_user_timeout": 5000,
            }
            return create_engine(self.url, **options)
        options["connect_args"] = {"timeout": self._busy_s, "check_same_thread": False, "isolation_level": None}
        engine = create_engine(self.url, **options)
        event.listen(engine, "connect", self._configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _configure_sqlite(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {self._synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Python's own transaction control begins late and DEFERRED: two claims could then read the same row.
    immediate = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise LedgerError(
            "Ledger.Url is not a database URL",
            code="LEDGER_URL",
            advice="Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE.",
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql") or (
        parsed.get_backend_name() == "sqlite" and not parsed.database
    ):
        raise LedgerError(
            f"Ledger.Url names {parsed.drivername}; SQLite with a file and PostgreSQL are possible",
            code="LEDGER_URL",
            advice="Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    return parsed
