"""What can happen to the ledger's file, and what its users see."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from enhancement.errors import LedgerError
from enhancement.ledger.migrations import VERSION_TABLE
from enhancement.ledger.schema import metadata
from enhancement.ledger.states import State
from unit.ledger_support import Bench


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ledger.sqlite"


def _code(action: object) -> str:
    with pytest.raises(LedgerError) as caught:
        action()  # type: ignore[operator]
    return caught.value.code


class TestSchema:
    def test_migrations_make_the_schema(self, path: Path) -> None:
        """The sum of all revisions is what `schema.py` says, indexes and conditions included."""
        Bench(path)
        with sa.create_engine(f"sqlite:///{path}").connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, metadata) == []

    def test_newer_ledger_is_refused_untouched(self, path: Path) -> None:
        """Going back a version must not damage what the newer one wrote."""
        Bench(path).ledger.close()
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        with pytest.raises(LedgerError, match="schema 9999; this version knows 0001") as caught:
            Bench(path)
        assert caught.value.code == "LEDGER_NEWER"
        assert [item.name for item in path.parent.iterdir() if "damaged" in item.name] == []

    def test_processes_that_open_it_at_once(self, path: Path) -> None:
        """Each of four finds the whole schema; none fails."""
        code = (
            "import sys; sys.path[:0] = ['plugin']\n"
            "from enhancement.ledger.ledger import Ledger\n"
            "from enhancement.settings import LedgerSettings, QueueSettings\n"
            f"ledger = Ledger(LedgerSettings(url='sqlite:///{path}', busy_seconds=20), QueueSettings())\n"
            "ledger.requests.enqueue('study', 'recipe', 'inputs')\n"
        )
        path.parent.mkdir()
        children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
        assert [child.wait(60) for child in children] == [0] * 4
        assert Bench(path).ledger.records.counts().by_state[State.QUEUED] == 1


class TestFile:
    def test_nobody_else_may_read_it(self, path: Path) -> None:
        """Study identifiers and user names are nobody's business."""
        Bench(path)
        assert path.stat().st_mode & 0o077 == 0

    def test_deleted_while_open(self, path: Path) -> None:
        """The next call finds an empty ledger in its place, and the generation tells that the archive must be read."""
        bench = Bench(path)
        bench.enqueue()
        for item in path.parent.iterdir():
            item.unlink()
        assert bench.ledger.records.jobs() == []
        assert bench.ledger.generation == 1
        assert bench.enqueue("next").state is State.QUEUED
        assert path.exists()

    def test_deleted_while_a_job_runs(self, path: Path) -> None:
        """The holder learns that its claim is gone; what it stored will be adopted."""
        bench = Bench(path)
        bench.enqueue()
        job = bench.claim()
        path.unlink()
        assert _code(lambda: bench.ledger.claims.finish(job, State.STORED, result_uids=["1.2"])) == "LEASE_LOST"
        assert bench.enqueue(expected=["1.2"], present={"1.2"}).state is State.STORED

    def test_restored_from_a_backup_while_open(self, path: Path) -> None:
        """Another file under the same name is noticed."""
        bench = Bench(path)
        bench.store()
        bench.ledger.close()
        other = Bench(path.with_name("backup.sqlite"))
        other.enqueue("older")
        other.ledger.close()
        os.replace(other.url.removeprefix("sqlite:///"), path)
        assert [job.study_id for job in bench.ledger.records.jobs()] == ["older"]
        assert bench.ledger.generation == 1

    @pytest.mark.parametrize("damage", ["text", "header", "middle", "truncated"])
    def test_damaged_file_is_set_aside(self, path: Path, damage: str) -> None:
        """The service goes on with an empty ledger; the damaged file is kept for whoever wants to look."""
        bench = Bench(path)
        for number in range(50):
            bench.enqueue(f"study-{number}")
        bench.ledger.close()
        content = path.read_bytes()
        path.write_bytes(
            {
                "text": b"this is not a database" * 100,
                "header": b"\0" * 100 + content[100:],
                "middle": content[:4096] + os.urandom(len(content) - 4096),
                "truncated": content[: len(content) // 2],
            }[damage]
        )
        again = Bench(path)
        assert again.ledger.records.jobs() == []
        assert again.enqueue().state is State.QUEUED
        assert len([item for item in path.parent.iterdir() if ".damaged-" in item.name]) >= 1

    def test_damaged_while_open(self, path: Path) -> None:
        """The first call that trips over it says so; the next works on a new ledger."""
        bench = Bench(path)
        for number in range(200):
            bench.enqueue(f"study-{number}")
        bench.ledger.database._engine.dispose()  # its pages would otherwise come from the cache
        path.write_bytes(b"\xff" * path.stat().st_size)
        assert _code(lambda: bench.ledger.records.jobs()) == "LEDGER_CORRUPT"
        assert bench.ledger.records.jobs() == []
        assert bench.ledger.generation == 1

    def test_damaged_file_is_refused_where_the_site_wants_it(self, path: Path) -> None:
        """RebuildDamaged off: nothing is moved, the status turns red."""
        bench = Bench(path)
        bench.ledger.close()
        path.write_bytes(b"this is not a database" * 100)
        assert _code(lambda: bench.open(rebuild_damaged=False)) == "LEDGER_CORRUPT"
        assert path.read_bytes().startswith(b"this is not")

    def test_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """Said with the folder and the reason (a plain file where the folder should be: root may write anywhere)."""
        (tmp_path / "file").write_text("")
        with pytest.raises(LedgerError, match=r"cannot be created in .*/file") as caught:
            Bench(tmp_path / "file" / "ledger.sqlite")
        assert caught.value.code == "LEDGER_UNWRITABLE"

    def test_full_disk(self, path: Path) -> None:
        """A call that does not fit changes nothing and says so; when there is room again, work goes on."""
        bench = Bench(path)
        bench.enqueue()
        with bench.ledger.database._engine.connect() as connection:
            pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()
        sa.event.listen(bench.ledger.database._engine, "connect", _limit(pages))
        bench.ledger.database._engine.dispose()

        def fill() -> None:
            for number in range(500):
                bench.enqueue(f"study-{number}")

        assert _code(fill) == "LEDGER_FULL"
        assert len(bench.ledger.records.jobs(limit=1000)) >= 1
        assert bench.open().requests.enqueue("later", "recipe", "inputs").state is State.QUEUED

    @pytest.mark.parametrize("url", ["nonsense", "mysql://host/x", "sqlite://", "oracle://x"])
    def test_url_that_is_none(self, url: str) -> None:
        """Refused before anything is touched, without repeating what may hold a password."""
        with pytest.raises(LedgerError) as caught:
            Bench(url)
        assert caught.value.code == "LEDGER_URL"


def _limit(pages: int) -> object:
    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    return limit


class TestLocked:
    def test_wait_is_bounded(self, path: Path) -> None:
        """Somebody holds the ledger: readers read, a writer gives up after BusySeconds."""
        bench = Bench(path)
        job = bench.enqueue()
        ledger = bench.open(busy_seconds=0.3)
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            assert ledger.records.job(job.id).state is State.QUEUED
            assert _code(lambda: ledger.requests.cancel(job.id)) == "LEDGER_BUSY"
            assert time.monotonic() - started < 2.0
            other.execute("ROLLBACK")
        assert ledger.requests.cancel(job.id).state is State.CANCELLED

    def test_many_threads(self, path: Path) -> None:
        """Forty threads ask for the same ten studies: ten jobs, no error, no wait beyond the limit."""
        bench = Bench(path)
        errors: list[BaseException] = []

        def ask(number: int) -> None:
            try:
                bench.ledger.requests.enqueue(f"study-{number % 10}", "recipe", "inputs")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert bench.ledger.records.counts().by_state[State.QUEUED] == 10
