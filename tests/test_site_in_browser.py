"""The built site in a browser: every page fits a telephone, nothing is fetched from outside, search finds.

Needs Chromium and playwright.
"""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from upkeep.site import build

pytestmark = pytest.mark.thorough
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
api = pytest.importorskip("playwright.sync_api", reason="the site was not opened: playwright is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as play:
        path = BROWSER or play.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("the site was not opened: there is no Chromium; python -m playwright install chromium")
        running = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("build")
    assert not build(folder)
    return folder / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_telephone_and_fetches_nothing_from_outside(
    scheme: str, browser: Any, site: Path, address: str
) -> None:
    tab = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    outside: list[str] = []
    tab.on("request", lambda asked: outside.append(asked.url) if not asked.url.startswith((address, "data:")) else None)
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) > 100
    for name in pages:
        tab.goto(f"{address}/{name}")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390, name
    assert not outside
    paper, ink = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    lightness = [sum(map(float, colour[colour.index("(") + 1 : -1].split(",")[:3])) for colour in (paper, ink)]
    assert (lightness[0] > lightness[1]) == (scheme == "light")


def test_search_finds_a_command(browser: Any, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{address}/index.html")
    tab.locator(".md-search__input").fill("squash")
    tab.locator(".md-search-result__item a").first.wait_for()
    assert "squash" in tab.locator(".md-search-result__list").inner_text()
