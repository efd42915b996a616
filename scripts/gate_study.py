"""Measure the quality gate: failures caught and missed, good studies refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evaluation.gate import FIRST_SEED, run


def main(
    cases: Annotated[int, typer.Option(min=1, help="Good studies, and as many failures")] = 60,
    patients: Annotated[Path | None, typer.Option(exists=True, help="Cache of simulated patients")] = None,
    seed: Annotated[int, typer.Option(help="Of the first patient, and of what is done to it")] = FIRST_SEED,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="One JSON object a study; a file that is there is gone on with"),
    ] = None,
) -> None:
    """Hold simulated failures and good studies against the gate with its default limits.

    Exit code 1 if fewer than 95 % of the failures are refused or warned of, or more than 3 % of the good ones refused.
    """
    console = Console(stderr=True)
    judged = _read(output)
    done = frozenset((one["number"], one["failure"]) for one in judged)
    for one in run(cases, folder=patients, done=done, first_seed=seed):
        record = one.record()
        judged.append(record)
        console.print(f"{one.number} {one.failure or 'good'}: {one.verdict} {', '.join(one.codes)}", highlight=False)
        if output is not None:
            with output.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
    raise typer.Exit(0 if _report(console, [one for one in judged if one["number"] < cases]) else 1)


def _read(output: Path | None) -> list[dict[str, Any]]:
    if output is None or not output.exists():
        return []
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def _report(console: Console, judged: list[dict[str, Any]]) -> bool:
    table = Table("what went wrong", "studies", "refused", "warned", "missed", "by")
    for failure in dict.fromkeys(one["failure"] for one in judged):
        group = [one for one in judged if one["failure"] == failure]
        count = Counter(one["verdict"] for one in group)
        codes = Counter(code for one in group for code in one["codes"]).most_common(3)
        row = (str(len(group)), *(str(count[v]) for v in ("refused", "warned", "passed")))
        table.add_row(failure or "nothing", *row, ", ".join(f"{code} {n}" for code, n in codes))
    console.print(table)
    failures = [one for one in judged if one["failure"]]
    good = [one for one in judged if not one["failure"]]
    caught = sum(one["verdict"] != "passed" for one in failures) / len(failures)
    refused = sum(one["verdict"] == "refused" for one in good) / len(good)
    warned = sum(one["verdict"] == "warned" for one in good) / len(good)
    print(f"failures refused or warned of: {caught:.1%} of {len(failures)}")
    print(f"good studies refused: {refused:.1%}, warned of: {warned:.1%} of {len(good)}")
    return bool(caught >= 0.95 and refused <= 0.03)


if __name__ == "__main__":
    typer.run(main)
