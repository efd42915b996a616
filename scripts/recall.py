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
        found = _answer(client.get("/enhancement/results", params={"model": model}))
        results, unlisted = found["results"], found["unlisted"]
        console.print(_table(results, unlisted))
        if not (results or unlisted) or not withdraw:
            return
        if not yes and not typer.confirm(f"Withdraw {len(results) + len(unlisted)} results?"):
            raise typer.Exit(1)
        body = {"reason": reason}
        withdrawn = [_withdraw(client, f"job {job['id']}", f"results/{job['id']}", body) for job in results]
        body["model"] = model
        withdrawn += [_withdraw(client, item["series_id"], f"series/{item['series_id']}", body) for item in unlisted]
        raise typer.Exit(0 if all(withdrawn) else 1)


def _withdraw(client: httpx.Client, name: str, path: str, body: dict[str, str]) -> bool:
    answer = client.post(f"/enhancement/{path}/withdraw", json=body)
    if answer.is_success:
        console.print(f"withdrawn: {name}, {len(answer.json()['withdrawn'])} series")
    else:
        console.print(f"[red]not withdrawn[/red]: {name}: {answer.json().get('message', answer.text)}")
    return answer.is_success


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == 401:
        raise typer.BadParameter("Orthanc did not accept the user and the password")
    body: dict[str, Any] = response.json()
    if not response.is_success:
        raise typer.BadParameter(f"{body.get('message')} {body.get('advice', '')}")
    return body


def _table(results: list[dict[str, Any]], unlisted: list[dict[str, str]]) -> Table:
    table = Table(title=f"{len(results) + len(unlisted)} results")
    for name in ("job", "study", "state", "series"):
        table.add_column(name, overflow="fold")
    for job in results:
        table.add_row(str(job["id"]), job["study_id"], job["state"], "\n".join(job["result_uids"]))
    for item in unlisted:
        table.add_row("none", item["study_id"], "not in the ledger", item["series_instance_uid"])
    return table


if __name__ == "__main__":
    typer.run(main)
