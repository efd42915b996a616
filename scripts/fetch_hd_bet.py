"""Fetch HD-BET's weights once, verify them, and pin what was verified."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from enhancement.network.hd_bet import FILES, PIN, file_sha256

REPOSITORY = Path(__file__).resolve().parents[1]

URL = "https://zenodo.org/records/14445620/files/release_v1.5.0.zip?download=1"


def main(
    folder: Annotated[Path, typer.Argument(help="Where the plugin looks")] = REPOSITORY / "model_weights" / "hd-bet",
    url: Annotated[str, typer.Option(help="http(s) or file address of the zip archive")] = URL,
    sha256: Annotated[str, typer.Option(help="Of the archive; a download that differs is thrown away")] = "",
    trust_first: Annotated[bool, typer.Option(help="Without --sha256: accept, print and pin what comes")] = False,
) -> None:
    """Install HD-BET's weights into FOLDER with a SHA256SUMS file that every later start is held against.

    A checkpoint is a pickle, which can run code when it is opened. So give the archive's SHA-256 from a source you
    trust (the record's page), or say --trust-first and compare the number printed with that of another machine.
    """
    if not sha256 and not trust_first:
        _stop("give --sha256, or --trust-first to accept what comes and pin it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        archive = Path(temporary, "release.zip")
        found = _download(url, archive)
        if sha256 and found != sha256.lower():
            _stop(f"the archive has SHA-256 {found}, {sha256} was needed; nothing is installed")
        whole = Path(temporary, "release")
        _unpack(archive, whole)
        lines = [f"{file_sha256(whole / file)}  {file.as_posix()}" for file in FILES]
        (whole / PIN).write_text("\n".join(lines) + "\n", encoding="ascii")
        if folder.exists():
            shutil.rmtree(folder)
        whole.rename(folder)
    print(f"archive SHA-256 {found}")
    print(f"installed and pinned in {folder}")


def _download(url: str, target: Path) -> str:
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as source, target.open("wb") as sink:
            while block := source.read(1 << 20):
                digest.update(block)
                sink.write(block)
    except (urllib.error.URLError, OSError, ValueError) as error:
        _stop(f"the archive cannot be fetched: {error}")
    return digest.hexdigest()


def _unpack(archive: Path, target: Path) -> None:
    """Take the files that are needed out of the archive, wherever they lie in it; no other path is written."""
    try:
        with zipfile.ZipFile(archive) as content:
            for file in FILES:
                names = [n for n in content.namelist() if n == file.as_posix() or n.endswith("/" + file.as_posix())]
                if len(names) != 1:
                    _stop(f"the archive was to hold one {file.as_posix()}, found {len(names)}")
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                with content.open(names[0]) as source, (target / file).open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, OSError) as error:
        _stop(f"the archive cannot be unpacked: {error}")


def _stop(message: str) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
