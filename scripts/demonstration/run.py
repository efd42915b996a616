"""The steps of the demo, in order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demonstration.peers import Viewer, send_study
from demonstration.report import Contrast, draw, measure_contrast, on_grid, series_image
from demonstration.server import DemoError, OrthancServer

CALLED_AET = "ORTHANC"
PATIENCE_S = 1800


class Demo:
    """A scanner, an Orthanc, a viewer and a report.

    Parameters
    ----------
    console : Console
        Where it tells what it does.
    server : OrthancServer
        Running.
    viewer : Viewer
        Running; known to the server as a modality.
    study : Path
        Folder of the study's DICOM files, with the truth in `truth/`.
    report : Path
        Figure to write.
    """

    def __init__(self, console: Console, server: OrthancServer, viewer: Viewer, study: Path, *, report: Path) -> None:
        self._console, self._server, self._viewer = console, server, viewer
        self._study, self._report = study, report

    def run(self, *, stable_age_s: float) -> None:
        """Do everything.

        Raises
        ------
        DemoError
            If a step does not give what it should.
        """
        study_id, study_uid = self._send()
        sent = time.monotonic()
        job = self._follow(study_id, settle_s=3 * stable_age_s + 10)
        seconds = time.monotonic() - sent - stable_age_s
        stored = self._result(study_id, job)
        moved = self._fetch(study_uid, stored)
        before, after = self._draw(moved, job)
        self._tell(job, seconds, before, after)

    def _send(self) -> tuple[str, str]:
        files = sorted(file for file in self._study.rglob("*.dcm") if "truth" not in file.parts)
        if not files:
            raise DemoError(f"no DICOM file was found in {self._study}")
        with Progress(TextColumn("[bold]Sending[/]"), BarColumn(), TextColumn("{task.completed}/{task.total}")) as bar:
            task = bar.add_task("", total=len(files))
            send_study(
                files, port=self._server.dicom_port, called_aet=CALLED_AET, sent=lambda: bar.update(task, advance=1)
            )
        study_uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        return self._server.find("Study", StudyInstanceUID=study_uid)[0], study_uid

    def _follow(self, study_id: str, *, settle_s: float) -> dict[str, Any]:
        job: dict[str, Any] = {}
        columns = (TextColumn("[bold]{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("waiting for the study to be stable", total=1.0)
            for job in self._server.follow_job(study_id, patience_s=PATIENCE_S, settle_s=settle_s):
                bar.update(task, description=str(job.get("stage") or job["state"]), completed=job.get("fraction") or 0)
        if job.get("state") != "STORED":
            raise DemoError(f"the job ended as {job.get('state')}: {job.get('code')}: {job.get('reason')}")
        return dict(self._server.get(f"/enhancement/jobs/{job['id']}"))

    def _result(self, study_id: str, job: dict[str, Any]) -> list[Dataset]:
        """The enhanced series as Orthanc holds it."""
        for series_id in self._server.get(f"/studies/{study_id}")["Series"]:
            instances = self._server.get(f"/series/{series_id}")["Instances"]
            first = dcmread(BytesIO(self._server.file(instances[0])))
            if _is_enhanced(first):
                return [dcmread(BytesIO(self._server.file(instance))) for instance in instances]
        raise DemoError(f"job {job.get('id')} says STORED, but the study holds no enhanced series")

    def _fetch(self, study_uid: str, stored: Sequence[Dataset]) -> list[Dataset]:
        series_uid = str(stored[0].SeriesInstanceUID)
        moved = self._viewer.move(
            study_uid=study_uid, series_uid=series_uid, port=self._server.dicom_port, called_aet=CALLED_AET
        )
        by_uid = {ds.SOPInstanceUID: ds for ds in moved}
        for ds in stored:
            twin = by_uid.pop(ds.SOPInstanceUID, None)
            if twin is None or twin.PixelData != ds.PixelData or twin != ds:
                raise DemoError(f"instance {ds.SOPInstanceUID} did not arrive by C-MOVE as it is stored")
        if by_uid:
            raise DemoError(f"C-MOVE brought {len(by_uid)} instances that the series does not have")
        self._console.print(f"[bold]Fetched[/] {len(moved)} instances by C-MOVE; each equals the stored one")
        return moved

    def _draw(self, t1c_pro: Sequence[Dataset], job: dict[str, Any]) -> tuple[Contrast, Contrast]:
        sources = {str(item.ReferencedSOPInstanceUID) for ds in t1c_pro for item in ds.SourceImageSequence}
        t1c = [
            dcmread(BytesIO(self._server.file(found[0])))
            for uid in sources
            if (found := self._server.find("Instance", SOPInstanceUID=uid))
        ]
        t1c = [ds for ds in t1c if ds.FrameOfReferenceUID == t1c_pro[0].FrameOfReferenceUID and _same_grid(ds, t1c_pro)]
        if len(t1c) != len(t1c_pro):
            raise DemoError(
                f"each of {len(t1c_pro)} T1c-pro slices was to lie on a T1c slice, found {len(t1c)} of those"
            )
        source, enhanced = series_image(t1c), series_image(t1c_pro)
        lesion = on_grid(self._study / "truth" / "enhancing_lesion.nii.gz", enhanced)
        white_matter = on_grid(self._study / "truth" / "white_matter.nii.gz", enhanced)
        if not lesion.any():
            raise DemoError("this simulated patient has no enhancing lesion; choose another --seed")
        contrasts = tuple(
            measure_contrast(sitk.GetArrayFromImage(image), lesion, white_matter) for image in (source, enhanced)
        )
        audit = job.get("audit") or {}
        title = (
            f"{t1c_pro[0].SeriesDescription}: a simulated patient, {audit.get('predictions', '?')} predictions averaged"
        )
        draw(source, enhanced, lesion, file=self._report, contrasts=(contrasts[0], contrasts[1]), title=title)
        if contrasts[1].cnr <= contrasts[0].cnr or contrasts[1].lbr <= contrasts[0].lbr:
            raise DemoError(
                f"lesions were to stand out more; CNR went from {contrasts[0].cnr:.2f} to {contrasts[1].cnr:.2f}, "
                f"LBR from {contrasts[0].lbr:.2f} to {contrasts[1].lbr:.2f}"
            )
        return contrasts[0], contrasts[1]

    def _tell(self, job: dict[str, Any], seconds: float, before: Contrast, after: Contrast) -> None:
        table = Table("stage", "seconds", title="Time of every stage")
        for stage, spent in ((job.get("audit") or {}).get("stage_seconds") or {}).items():
            table.add_row(stage, f"{spent:.1f}")
        table.add_row("[bold]last C-STORE to stored series, StableAge aside", f"[bold]{seconds:.1f}")
        self._console.print(table)
        self._console.print(f"Peak resident memory of Orthanc: {self._server.peak_rss_bytes / 2**30:.2f} GiB")
        self._console.print(
            f"Enhancing lesions against white matter: CNR {before.cnr:.1f} -> [bold]{after.cnr:.1f}[/], "
            f"LBR {before.lbr:.2f} -> [bold]{after.lbr:.2f}[/]"
        )
        self._console.print(f"Open {self._report} to see them.")


def _is_enhanced(ds: Dataset) -> bool:
    return bool(ds.get("SyntheticData") == "YES")


def _same_grid(ds: Dataset, series: Sequence[Dataset]) -> bool:
    position = np.array(ds.ImagePositionPatient, dtype=float)
    return any(np.allclose(position, np.array(other.ImagePositionPatient, dtype=float), atol=1e-3) for other in series)
