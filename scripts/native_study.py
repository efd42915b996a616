"""Compare the ways back to a T1c of 0.5 mm: noise, sharpness, lesion contrast and error of each."""

from __future__ import annotations

from typing import Annotated

import typer

from evaluation.native import make_phantom, measure


def main(noise: Annotated[list[float] | None, typer.Option(help="SD in per cent of the brain's mean")] = None) -> None:
    """Print one table a noise level; see evaluation/native.py for what the columns mean."""
    phantom = make_phantom()
    for level in noise or [2.0, 4.0, 8.0]:
        print(f"noise {level:g} % of the brain's mean")
        print(f"{'':10} {'noise':>8} {'sharpness':>10} {'contrast':>9} {'error':>7}")
        for name, found in measure(phantom, noise=level).items():
            row = (found[key] for key in ("noise", "sharpness", "contrast", "error"))
            print(f"{name:10} {next(row):8.2f} {next(row):10.2f} {next(row):9.2f} {next(row):7.2f}")


if __name__ == "__main__":
    typer.run(main)
