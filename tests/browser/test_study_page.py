"""The button on the study page of Orthanc Explorer, in Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from server.conftest import make_study, models, orthanc_binary, start_orthanc  # noqa: F401
from server.server import PASSWORD, USER, Orthanc, storage_folder
from unit.phantom import PhantomStudy

pytestmark = [pytest.mark.browser, pytest.mark.orthanc]

MakeStudy = Callable[..., PhantomStudy]
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of Chromium that knows the password."""
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is not installed; run scripts/setup"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            http_credentials={"username": USER, "password": PASSWORD}, viewport={"width": 1200, "height": 900}
        )
        yield context.new_page()
        browser.close()


@pytest.fixture(scope="module")
def manual(orthanc_binary: str, models: Path) -> Iterator[Orthanc]:  # noqa: F811
    """An Orthanc that enhances only what it is asked to, and takes its time; each test has a study of its own."""
    settings = {
        "ContrastEnhancement.ModelWeights": models,
        "ContrastEnhancement.Automatic": False,
        "ContrastEnhancement.Queue.RetryInitialSeconds": 60,
    }
    with storage_folder() as storage:
        server = Orthanc(storage, settings, variables={"LIGHT_SECONDS": "4"})
        try:
            server.start()
            yield server
        finally:
            server.close()


def open_study(page: Page, orthanc: Orthanc, study_id: str) -> None:
    page.goto("about:blank")
    page.goto(f"{orthanc.url}/app/explorer.html#study?uuid={study_id}")
    page.wait_for_selector("#enhancement-start")


def screenshot(page: Page, name: str) -> None:
    """Kept where ENHANCEMENT_SCREENSHOTS says, for people to look at."""
    folder = os.environ.get("ENHANCEMENT_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


class TestTheButton:
    def test_it_starts_shows_progress_and_the_stored_state(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        study = make_study()
        manual.send(study.paths)
        study_id = manual.study_id(study.study_instance_uid)
        open_study(page, manual, study_id)
        state = page.locator("#enhancement-state")
        expect(state).to_have_text("Not enhanced yet.", timeout=PATIENCE_MS)
        screenshot(page, "idle")
        page.get_by_text("Enhance contrast", exact=True).click()
        expect(state).to_contain_text("At work:", timeout=PATIENCE_MS)
        expect(page.locator("#enhancement-progress")).to_be_visible()
        expect(page.locator("#enhancement-cancel")).to_be_visible()
        screenshot(page, "running")
        expect(state).to_contain_text("The enhanced series is stored in this study.", timeout=PATIENCE_MS)
        expect(page.locator("#enhancement-progress")).to_be_hidden()
        expect(page.locator("#list-series")).to_contain_text("T1c-pro", timeout=PATIENCE_MS)
        screenshot(page, "stored")
        assert len(manual.results(study_id)) == 1
        page.get_by_text("Open the enhanced series", exact=True).click()
        expect(page.locator("#series-info")).to_contain_text("T1c-pro", timeout=PATIENCE_MS)

    def test_the_keyboard_starts_it_once(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        """Enter starts; a second Enter, on what looks disabled, does nothing."""
        study = make_study()
        manual.send(study.paths)
        study_id = manual.study_id(study.study_instance_uid)
        open_study(page, manual, study_id)
        button = page.locator("#enhancement-start")
        expect(page.locator("#enhancement-state")).to_have_text("Not enhanced yet.", timeout=PATIENCE_MS)
        posts: list[str] = []
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_have_attribute("aria-disabled", "true")
        page.keyboard.press("Enter")
        expect(page.locator("#enhancement-progress")).to_be_visible(timeout=PATIENCE_MS)
        assert page.get_by_label("Progress of the enhancement").get_attribute("max") == "100"
        expect(page.locator("#enhancement-state")).to_contain_text("stored in this study", timeout=PATIENCE_MS)
        assert len(posts) == 1

    def test_a_refusal_shows_its_reason_and_advice(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        """A T1c with a missing slice."""
        study = make_study()
        hole = study.paths_of("T1C")[4]
        manual.send(study.paths_without([hole]))
        open_study(page, manual, manual.study_id(study.study_instance_uid))
        page.get_by_text("Enhance contrast", exact=True).click()
        expect(page.locator("#enhancement-state")).to_contain_text("1 slices are missing", timeout=PATIENCE_MS)
        expect(page.locator("#enhancement-state")).to_contain_text("Refused")
        expect(page.locator("#enhancement-advice")).to_be_visible()
        screenshot(page, "refused")

    def test_an_incomplete_study_shows_what_it_waits_for(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        """A study without T1c; its description tries to be markup."""
        study = make_study(roles=("T1", "FLAIR"))
        manual.send(study.paths)
        open_study(page, manual, manual.study_id(study.study_instance_uid))
        page.get_by_text("Enhance contrast", exact=True).click()
        expect(page.locator("#enhancement-state")).to_contain_text("A T1C series is needed", timeout=PATIENCE_MS)
        expect(page.locator("#enhancement-state")).to_contain_text("Not complete")
        expect(page.locator("#enhancement-advice")).to_be_visible()
        screenshot(page, "incomplete")
        page.get_by_text("Which series, and why", exact=True).click()
        series = page.locator("#enhancement-series")
        expect(series).to_contain_text("used as T1", timeout=PATIENCE_MS)
        expect(series).to_contain_text("used as FLAIR")
        series.scroll_into_view_if_needed()
        screenshot(page, "explained")
        page.get_by_text("Which series, and why", exact=True).click()
        expect(series).to_be_hidden()

    def test_a_running_job_can_be_cancelled(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        study = make_study()
        manual.send(study.paths)
        study_id = manual.study_id(study.study_instance_uid)
        open_study(page, manual, study_id)
        page.get_by_text("Enhance contrast", exact=True).click()
        expect(page.locator("#enhancement-state")).to_contain_text("At work:", timeout=PATIENCE_MS)
        page.locator("#enhancement-cancel").click()
        expect(page.locator("#enhancement-state")).to_contain_text("Cancelled", timeout=PATIENCE_MS)
        assert manual.results(study_id) == []

    def test_what_was_not_done_is_said(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        """A refused request (no right, full queue, ...) does not look like a job that failed."""
        study = make_study()
        manual.send(study.paths)
        fault = {"code": "FORBIDDEN", "reason": "Your user may not start jobs.", "advice": "Ask an administrator."}

        def answer(route):  # type: ignore[no-untyped-def]
            if route.request.method == "POST":
                route.fulfill(status=403, json=fault)
            else:
                route.continue_()

        page.route("**/enhancement/studies/*", answer)
        try:
            open_study(page, manual, manual.study_id(study.study_instance_uid))
            page.get_by_text("Enhance contrast", exact=True).click()
            expect(page.locator("#enhancement-notice")).to_contain_text("may not start jobs", timeout=PATIENCE_MS)
            expect(page.locator("#enhancement-state")).to_have_text("Not enhanced yet.", timeout=PATIENCE_MS)
            screenshot(page, "forbidden")
        finally:
            page.unroute("**/enhancement/studies/*")

    def test_text_from_the_server_is_never_markup(
        self,
        manual: Orthanc,
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        """A reason with a script in it is shown as it is."""
        study = make_study()
        manual.send(study.paths)
        evil = "<img src=x onerror='window.__broken=1'><script>window.__broken=1</script>"

        def answer(route):  # type: ignore[no-untyped-def]
            body = {"state": "REJECTED", "fraction": 0, "reason": evil, "advice": evil}
            route.fulfill(status=200, json=body)

        page.route("**/enhancement/studies/*", answer)
        try:
            open_study(page, manual, manual.study_id(study.study_instance_uid))
            expect(page.locator("#enhancement-state")).to_contain_text("<img src=x", timeout=PATIENCE_MS)
            assert page.evaluate("window.__broken") is None
        finally:
            page.unroute("**/enhancement/studies/*")


class TestAPluginThatCannotWork:
    def test_wrong_settings_are_shown_on_the_study_page(
        self,
        start_orthanc: Callable[..., Orthanc],  # noqa: F811
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Model.Foldz": 3})
        study = make_study()
        orthanc.send(study.paths)
        open_study(page, orthanc, orthanc.study_id(study.study_instance_uid))
        expect(page.locator("#enhancement-state")).to_contain_text("Not available", timeout=PATIENCE_MS)
        expect(page.locator("#enhancement-state")).to_contain_text("ContrastEnhancement.Model.Foldz")
        screenshot(page, "red-settings")

    def test_missing_weights_are_shown_on_the_study_page(
        self,
        start_orthanc: Callable[..., Orthanc],  # noqa: F811
        make_study: MakeStudy,  # noqa: F811
        page: Page,
    ) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Recipes": [{"Name": "t1c-pro", "Model": "none-such"}]})
        study = make_study()
        orthanc.send(study.paths)
        open_study(page, orthanc, orthanc.study_id(study.study_instance_uid))
        expect(page.locator("#enhancement-service")).to_contain_text("none-such", timeout=PATIENCE_MS)
        screenshot(page, "red-weights")
