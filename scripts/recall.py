"""List, and on demand withdraw, every series that a model made.

    .venv/bin/python scripts/recall.py --model DIGEST [--withdraw --reason TEXT] [--url http://127.0.0.1:8042]

The user is CONTRAST_ENHANCEMENT_USER (admin by default), the password CONTRAST_ENHANCEMENT_PASSWORD or asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from getpass import getpass
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

console = Console()

# Orthanc lists a thousand series in 0.2 s, or in some seconds where each has hundreds of instances.
SERIES_AT_ONCE = 5000
MOST_IN_TABLE = 500


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
        found = _search(client, model)
        results, unlisted, doubtful = found["results"], found["unlisted"], found["unattributed"]
        _show(found)
        console.print(_summary(found))
        if not (results or unlisted) or not withdraw:
            return
        if not yes and not typer.confirm(f"Withdraw {len(results) + len(unlisted)} results?"):
            raise typer.Exit(1)
        body = {"reason": reason}
        withdrawn = [_withdraw(client, f"job {job['id']}", f"results/{job['id']}", body) for job in results]
        body["model"] = model
        withdrawn += [_withdraw(client, item["series_id"], f"series/{item['series_id']}", body) for item in unlisted]
        console.print(f"{sum(withdrawn)} of {len(withdrawn)} withdrawn, {len(doubtful)} left for you to judge")
        raise typer.Exit(0 if all(withdrawn) and not doubtful else 1)


def _search(client: httpx.Client, model: str) -> dict[str, Any]:
    """Go through the archive in parts, each of which is answered in seconds."""
    query = {"model": model, "limit": str(SERIES_AT_ONCE)}
    found = _answer(client.get("/enhancement/results", params=query))
    while found["next"] is not None:
        part = _answer(client.get("/enhancement/results", params=query | {"since": str(found["next"])}))
        for name in ("unlisted", "unattributed", "unreadable"):
            found[name] += part[name]
        found["counts"] = {name: found["counts"][name] + part["counts"][name] for name in found["counts"]}
        found["next"] = part["next"]
    return found


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


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for job in found["results"]:
        yield str(job["id"]), job["study_id"], job["state"], " ".join(job["result_uids"])
    for item in found["unlisted"]:
        known = f"not in the ledger, known by its {item['known_by']}"
        yield "none", item["study_id"], known, item["series_instance_uid"]
    for item in found["unattributed"]:
        yield "none", item["study_id"], "of an unknown model", item["series_instance_uid"]


def _show(found: dict[str, Any]) -> None:
    """A table; a long list as plain lines, which 40,000 results need 40 s less for (measured)."""
    title = f"{len(found['results']) + len(found['unlisted'])} results"
    lines = list(_lines(found))
    if len(lines) > MOST_IN_TABLE:
        print(title, *("\t".join(line) for line in lines), sep="\n")
        return
    table = Table(title=title)
    for name in ("job", "study", "state", "series"):
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _summary(found: dict[str, Any]) -> str:
    """What was gone through, and what this search may have missed."""
    counts = found["counts"]
    lines = [f"{counts['series']} series of the archive were gone through, {counts['headers']} headers read."]
    if counts["unattributed"]:
        lines.append(
            f"{counts['unattributed']} series are of this software, and nothing names their model: look at each."
        )
    if counts["unreadable"]:
        lines.append(f"{counts['unreadable']} series cannot be read: {', '.join(found['unreadable'])}")
    lines.append("Copies in other systems are not in this list; neither are those whose pixels were changed.")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
