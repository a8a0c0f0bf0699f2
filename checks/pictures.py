"""Pictures of the page of a run, to be looked at: wide and on a telephone, in both colour schemes.

python -m checks.pictures RUN FOLDER
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Final

from editcore_bench.report.figures import cell_figures
from editcore_bench.report.page import page
from editcore_bench.runs.folder import RunFolder

WIDTHS: Final = {"wide": 1280, "telephone": 390}
SCHEMES: Final = ("light", "dark")


def take(run: Path, out: Path) -> list[Path]:
    """A picture of each, of the whole page with its first case open; and the first, small, of its beginning."""
    from playwright.sync_api import sync_playwright

    folder, found = RunFolder.open(run), []
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        file = Path(place) / "report.html"
        file.write_text(page(folder, cell_figures(folder), 12), encoding="utf-8")
        # the system's browser where there is one, else the one that playwright installs
        path = shutil.which("chromium") or shutil.which("google-chrome") or play.chromium.executable_path
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            for scheme in SCHEMES:
                tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                tab.goto(file.as_uri())
                tab.locator(".case").first.click()
                tab.locator(".case .tests").first.wait_for()
                found.append(out / f"{name}-{scheme}.png")
                tab.screenshot(path=found[-1], full_page=True)
                tab.close()
        tab = browser.new_page(viewport={"width": 1100, "height": 800})
        tab.goto(file.as_uri())
        tab.evaluate("document.querySelector('.facts').scrollIntoView({behavior: 'instant'})")
        found.insert(0, out / "small.png")
        tab.screenshot(path=found[0])
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m checks.pictures", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    for path in take(arguments.run, arguments.out):
        print(path)


if __name__ == "__main__":
    main()
