"""Marks: facts about a whole archive, such as the last change seen, and whether the queue is paused."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, insert, select

from enhancement.ledger.schema import marks
from enhancement.ledger.scope import Scope


def read_mark(connection: Connection, archive: str, name: str) -> Any:
    """The value of a mark, or None."""
    return connection.execute(select(marks.c.value).filter_by(archive=archive, name=name)).scalar()


class Marks:
    """The named JSON values of one archive."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive

    def last_change(self, instance: str) -> int | None:
        """The sequence number up to which this Orthanc has dealt with the changes, or None in a new ledger."""
        value = self._get(f"last-change:{instance}"[:64])
        return None if value is None else int(value)

    def set_last_change(self, instance: str, sequence: int | None) -> None:
        """Remember it; None makes the next reconciliation list the studies."""
        self._set(f"last-change:{instance}"[:64], sequence)

    def pause(self, *, by: str = "", reason: str = "") -> None:
        """Claim nothing more until `resume`; running jobs end normally."""
        self._set("paused", {"by": by, "reason": reason})

    def resume(self) -> None:
        """Undo `pause`."""
        self._set("paused", None)

    def paused(self) -> dict[str, str] | None:
        """Who paused the queue and why, or None."""
        value = self._get("paused")
        return None if value is None else dict(value)

    def _get(self, name: str) -> Any:
        with self._database.read() as connection:
            return read_mark(connection, self._archive, name)

    def _set(self, name: str, value: Any) -> None:
        with self._database.write() as connection:
            connection.execute(delete(marks).filter_by(archive=self._archive, name=name))
            if value is not None:
                connection.execute(insert(marks).values(archive=self._archive, name=name, value=value))
