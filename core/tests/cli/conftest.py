import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


class Site:
    """A folder on the path of `editcore`, into which distributions can be put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def put(self, distribution: str, source: str, *, name: str | None = None, **modules: str) -> None:
        stem = distribution.replace("-", "_")
        info = self.folder / f"{stem}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[editcore]\n{name or distribution} = {stem}_entry\n")
        for module, text in {f"{stem}_entry": source, **modules}.items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(text))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def editcore(site: Site) -> Run:
    """Run the command line in a process of its own, with the plugins of `site` and no others but the built-in."""

    def run(*arguments: str, plugins: str | None = None, python: tuple[str, ...] = (), **options: object):
        distributions = [path.name.partition("-")[0] for path in site.folder.glob("*.dist-info")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EDITCORE_")}
        environment["PYTHONPATH"] = str(site.folder)
        environment["EDITCORE_PLUGINS"] = ",".join(distributions) if plugins is None else plugins
        return subprocess.run(
            [sys.executable, *python, "-m", "editcore", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    return run
