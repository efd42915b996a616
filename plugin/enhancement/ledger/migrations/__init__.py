"""Migrations: bring a ledger to the newest schema by Alembic's revisions, without Alembic's command line."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from enhancement.errors import LedgerError

VERSION_TABLE = "enhancement_schema"

# Alembic's `op` is a module-wide proxy: only one upgrade at a time may own it.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Apply every missing revision inside the caller's transaction.

    The caller's transaction must exclude other writers (BEGIN IMMEDIATE, an advisory lock), so that two
    processes that open one ledger at once do not both create it.

    Raises
    ------
    LedgerError
        LEDGER_NEWER if the ledger was written by a later version of this software.
    """
    script = ScriptDirectory(str(Path(__file__).parent))
    with _one_at_a_time:
        context = MigrationContext.configure(
            connection,
            opts={
                "fn": lambda revision, _context: script._upgrade_revs("head", revision),
                "version_table": VERSION_TABLE,
                "transactional_ddl": True,
            },
        )
        _refuse_newer(context.get_current_revision(), script)
        with Operations.context(context):
            context.run_migrations()


def _refuse_newer(revision: str | None, script: ScriptDirectory) -> None:
    known = {item.revision for item in script.walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerError(
            f"the ledger has schema {revision}; this version knows {', '.join(sorted(known))}",
            code="LEDGER_NEWER",
            advice="Install the version of the plugin that last used this ledger, or name another one in Ledger.Url.",
        )
