"""scripts/checkerboard.py: tiles of two series in turn, and what is printed of their agreement."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import typer
from matplotlib import image as pictures

import checkerboard
from simulation.grids import make_grid
from unit import phantom

SHIFT_MM = np.array([9.0, -14.0, 21.0])
HEAD = phantom.PhantomSpec()
PANEL = (308, 280)


@dataclass(frozen=True)
class Done:
    """What the command printed and drew."""

    told: str
    fixed: sitk.Image
    mask: sitk.Image
    rows: list[tuple[str, sitk.Image]]
    figure: Path


def _volume(role: str) -> tuple[sitk.Image, sitk.Image]:
    """One contrast of the phantom's head in voxels of 3 x 3 x 4 mm, and the mask of its brain."""
    grid = make_grid("axial", (3.0, 3.0, 4.0), HEAD.extent_mm)
    fractions = phantom.fractions_zyx(HEAD, grid)
    brain = sum(fractions[tissue] for tissue in ("grey", "white", "ventricle", "lesion"))
    return grid.image(phantom.signal_zyx(HEAD, grid, role)), grid.image(np.asarray(brain > 0.5, np.float32))


def _written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


class TestTiles:
    @pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (2.0, 0.5), (0.8, 2.5)])
    def test_every_second_20_mm_are_the_other_image(self, spacing_mm: tuple[float, float]) -> None:
        """Along both axes, each counted in its own millimetres; every voxel stays where it is."""
        rows, columns = (round(60 / spacing) for spacing in spacing_mm)
        first = np.arange(1, rows * columns + 1, dtype=np.float32).reshape(rows, columns)
        tiles = checkerboard._checkerboard(first, -first, np.array(spacing_mm))
        np.testing.assert_array_equal(np.abs(tiles), first)
        middles = [
            [tiles[int(y / spacing_mm[0]), int(x / spacing_mm[1])] > 0 for x in (10, 30, 50)] for y in (10, 30, 50)
        ]
        assert middles == [[True, False, True], [False, True, False], [True, False, True]]
        height, width = (round(20 / spacing) for spacing in spacing_mm)
        assert (tiles[:height, :width] > 0).all()
        assert (tiles[height : 2 * height, :width] < 0).all()
        assert (tiles[:height, width : 2 * width] < 0).all()
        assert (tiles[height : 2 * height, width : 2 * width] > 0).all()


class TestGreyLevels:
    def test_the_brain_fills_the_scale(self) -> None:
        """Its 99th percentile lies at 1 / 1.2, and what is brighter than white is white."""
        array = np.zeros((4, 10, 10), np.float32)
        array[1:3, 2:8, 2:8] = 500.0
        inside = array > 0
        array[0, 0, 0], array[0, 0, 1] = 5000.0, -20.0
        shown = checkerboard._shown(sitk.GetImageFromArray(array), inside)
        assert shown[inside] == pytest.approx(1 / 1.2)
        assert (shown[0, 0, 0], shown[0, 0, 1]) == (1.0, 0.0)

    def test_another_gain_looks_the_same(self) -> None:
        image, brain = _volume("T1")
        inside = sitk.GetArrayFromImage(brain) > 0
        shown = checkerboard._shown(image, inside)
        np.testing.assert_allclose(checkerboard._shown(image * 7.5, inside), shown, atol=1e-5)

    def test_a_series_that_lies_beside_the_brain_is_seen(self) -> None:
        """Before it is registered it may: its own brightest is the scale then, or all is black, and nothing NaN."""
        array = np.zeros((2, 3, 4), np.float32)
        inside = array == 0
        inside[0, 0, 0] = False
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(checkerboard._shown(sitk.GetImageFromArray(array), inside), array)
            array[0, 0, 0] = 600.0
            shown = checkerboard._shown(sitk.GetImageFromArray(array), inside)
        np.testing.assert_allclose(shown, array / 720.0)


def test_panels_are_not_distorted(tmp_path: Path) -> None:
    """A ball is round in the figure, though its voxels are 1 mm wide and 2.5 mm high."""
    grid = make_grid("axial", (1.0, 2.5, 5.0), (160.0, 160.0, 100.0))
    ball = grid.image(np.linalg.norm(grid.points_mm(), axis=-1) < 40)
    path = tmp_path / "new" / "ball.png"
    checkerboard._draw(ball, sitk.Cast(ball, sitk.sitkUInt8), [("a ball", ball)], path)
    picture = pictures.imread(path)[..., 0]
    assert picture.shape == (PANEL[0], 3 * PANEL[1])
    middle = picture[30:, PANEL[1] : 2 * PANEL[1]]  # without the title
    grey = (middle > 0.5) & (middle < 0.95)
    height, width = grey.any(axis=1).sum(), grey.any(axis=0).sum()
    assert height == pytest.approx(width, rel=0.03)
    # The window is the mask and 25 mm on every side of it.
    assert width / (middle[150] < 0.95).sum() == pytest.approx(80 / 130, rel=0.03)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The whole command, on a head and a copy of it that was moved."""
    folder = tmp_path_factory.mktemp("checkerboard")
    t1c, brain = _volume("T1C")
    moved = sitk.Image(t1c)
    moved.SetOrigin((np.array(t1c.GetOrigin()) + SHIFT_MM).tolist())
    mask = _written(brain, folder / "brain.nii.gz")
    paths = [_written(image, folder / f"{name}.nii.gz") for name, image in (("t1c", t1c), ("moved", moved))]
    told, drawn, draw = StringIO(), [], checkerboard._draw

    def spy(*drawing: Any) -> None:
        drawn.append(drawing)
        draw(*drawing)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told):
        patch.setattr(checkerboard, "_draw", spy)
        checkerboard.main(paths[0], [paths[1]], folder / "figures" / "moved.png", brain=mask)
    return Done(told.getvalue(), *drawn[0])


class TestCommand:
    def test_the_line_tells_of_an_agreement_far_above_chance(self, done: Done) -> None:
        told = re.fullmatch(
            r"moved\.nii\.gz: agreement (\d+\.\d) x chance, beside its place (\d\.\d\d) of that there\n", done.told
        )
        assert told is not None, done.told
        assert float(told[1]) > 4
        assert float(told[2]) < 0.9

    def test_the_copy_comes_back_to_its_place(self, done: Done) -> None:
        """Where it lay, the brain differs by a tenth of itself or more; once registered, by a hundredth at most."""
        fixed = sitk.GetArrayFromImage(done.fixed).astype(float)
        inside = sitk.GetArrayFromImage(done.mask) > 0
        before, after = (np.abs(sitk.GetArrayFromImage(image) - fixed)[inside].mean() for _, image in done.rows)
        assert before > 0.1 * fixed[inside].mean()
        assert after < 0.01 * fixed[inside].mean()

    def test_the_figure_has_a_row_before_and_one_after(self, done: Done) -> None:
        assert [title for title, _ in done.rows] == ["moved.nii.gz, as it lies", "moved.nii.gz, registered"]
        assert pictures.imread(done.figure).shape[:2] == (2 * PANEL[0], 3 * PANEL[1])

    def test_a_mask_on_another_grid_is_refused(self, done: Done, tmp_path: Path) -> None:
        """Cropped, or of the same size elsewhere: its voxels are not those of the T1c."""
        elsewhere = sitk.Image(done.mask)
        elsewhere.SetOrigin([0.0, 0.0, 0.0])
        t1c = _written(done.fixed, tmp_path / "t1c.nii.gz")
        for mask in (done.mask[2:, :, :], elsewhere):
            path = _written(mask, tmp_path / "mask.nii.gz")
            with pytest.raises(typer.BadParameter, match=r"mask\.nii\.gz was to lie on the T1c's grid"):
                checkerboard.main(t1c, [t1c], tmp_path / "none.png", brain=path)
