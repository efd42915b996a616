"""List, and on demand withdraw, every series that a model made.

    .venv/bin/python scripts/recall.py --model DIGEST [--withdraw --reason TEXT] [--url http://127.0.0.1:8042]

The user is CONTRAST_ENHANCEMENT_USER (admin by default), the password CONTRAST_ENHANCEMENT_PASSWORD or asked for.
"""

from __future__ import annotations

import os
from getpass import getpass
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

console = Console()


def main(
    model: Annotated[str, typer.Option(help="Digest of the model, as in its manifest and in every job")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Delete the series from the archive")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit record of every study")] = "",
    url: Annotated[str, typer.Option(help="Orthanc's address")] = "http://127.0.0.1:8042",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before withdrawing")] = False,
) -> None:
    """Find every result of one model; with --withdraw, take them out of the archive."""
    user = os.environ.get("CONTRAST_ENHANCEMENT_USER", "admin")
    password = os.environ.get("CONTRAST_ENHANCEMENT_PASSWORD") or getpass(f"Password of {user}: ")
    with httpx.Client(base_url=url, auth=(user, password), timeout=120) as client:
        results = _answer(client.get("/enhancement/results", params={"model": model}))["results"]
        console.print(_table(results))
        if not results or not withdraw:
            return
        if not yes and not typer.confirm(f"Withdraw {len(results)} results?"):
            raise typer.Exit(1)
        failed = 0
        for job in results:
            answer = client.post(f"/enhancement/results/{job['id']}/withdraw", json={"reason": reason})
            if answer.is_success:
                console.print(f"withdrawn: job {job['id']}, {len(answer.json()['withdrawn'])} series")
            else:
                failed += 1
                console.print(f"[red]not withdrawn[/red]: job {job['id']}: {answer.json().get('message', answer.text)}")
        raise typer.Exit(1 if failed else 0)


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == 401:
        raise typer.BadParameter("Orthanc did not accept the user and the password")
    body: dict[str, Any] = response.json()
    if not response.is_success:
        raise typer.BadParameter(f"{body.get('message')} {body.get('advice', '')}")
    return body


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{len(results)} results")
    for name in ("job", "study", "state", "series"):
        table.add_column(name, overflow="fold")
    for job in results:
        table.add_row(str(job["id"]), job["study_id"], job["state"], "\n".join(job["result_uids"]))
    return table


if __name__ == "__main__":
    typer.run(main)
