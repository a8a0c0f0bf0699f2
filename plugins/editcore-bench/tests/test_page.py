"""The page in a browser: it opens, orders, filters, harms nobody, fits a telephone. Needs Chromium and playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editcore_bench.report.figures import cell_figures
from editcore_bench.report.page import page
from editcore_bench.runs.folder import RunFolder

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
api = pytest.importorskip("playwright.sync_api", reason="the page was not opened: playwright is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as play:
        path = BROWSER or play.chromium.executable_path  # the system's, else the one that playwright installs
        if not Path(path).exists():
            pytest.skip("the page was not opened: there is no Chromium; python -m playwright install chromium")
        running = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = RunFolder.open(small_run)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(folder, cell_figures(folder), 200), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page on a desktop; it must end without a word on the console and without a request."""
    said: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if request.url != address else None)
    tab.goto(address)
    yield tab
    tab.close()
    assert said == []


def test_it_shows_every_chart_and_case(opened: Any) -> None:
    assert opened.locator(".chart svg").count() == 5 + 5 + 3 + 2  # of shares also what is kept of early edits
    assert opened.locator("#count").inner_text() == "40 of 48 cases"
    opened.locator("#more").click()
    assert opened.locator(".case").count() == 48


def test_a_heading_orders_its_table(opened: Any) -> None:
    table = opened.locator("table.summary").first
    heading = table.locator("thead button", has_text="an edit")
    column = table.locator("td[data-label='an edit']")

    def shown() -> list[float]:
        return [float(cell.get_attribute("data-value")) for cell in column.all()]

    heading.click()
    down = shown()
    heading.click()
    assert down == sorted(down, reverse=True)
    assert shown() == down[::-1] != down


def test_cases_are_filtered_by_method_by_failure_and_by_word(opened: Any) -> None:
    opened.select_option("[name=method]", "ft-l")
    assert opened.locator("#count").inner_text() == "24 cases"
    opened.select_option("[name=fails]", "tf.exact@1")
    failing = opened.locator(".case")
    failing.first.click()
    failing.first.locator(".tests").wait_for()
    chips = failing.first.locator(".chip.bad", has_text="tf.exact")
    assert chips.count() >= 1
    opened.select_option("[name=fails]", "none")
    assert opened.locator(".score.bad, .score .bad").count() == 0
    opened.select_option("[name=fails]", "")
    opened.fill("[name=find]", "ada marlow lives")
    assert 0 < opened.locator(".case").count() < 24
    opened.fill("[name=find]", "no such word")
    assert opened.locator("#count").inner_text() == "0 cases"


def test_cases_are_ordered_by_what_they_fail(opened: Any) -> None:
    opened.select_option("[name=order]", "worst")
    counts = [
        0 if text.startswith("all") else int(text.split()[0])
        for text in opened.locator(".case .score").all_inner_texts()
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_texts_that_mean_harm_are_shown_and_do_none(opened: Any, hostile: str) -> None:
    opened.fill("[name=find]", "window.harmed")
    opened.locator(".case").first.click()
    opened.locator(".case .tests").wait_for()
    assert hostile in opened.locator(".case").first.inner_text()
    assert opened.evaluate("window.harmed") is None
    assert opened.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_in_both_colour_schemes(scheme: str, browser: Any, address: str) -> None:
    tab = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    tab.goto(address)
    tab.locator(".case").first.click()
    tab.locator(".case .tests").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    paper, ink = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    lightness = [sum(map(int, colour.strip("rgb()").split(","))) for colour in (paper, ink)]
    assert (lightness[0] > lightness[1]) == (scheme == "light")
    assert abs(lightness[0] - lightness[1]) > 450
    tab.close()
