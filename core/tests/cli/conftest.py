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

    def run(*arguments: str, plugins: str | None = None, program: tuple[str, ...] = ("-m", "editcore")):
        distributions = [path.name.partition("-")[0] for path in site.folder.glob("*.dist-info")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EDITCORE_")}
        environment["PYTHONPATH"] = str(site.folder)
        environment["EDITCORE_PLUGINS"] = ",".join(distributions) if plugins is None else plugins
        return subprocess.run(
            [sys.executable, *program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


MODULES = """
import sys
from editcore.cli import main
code = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def modules_after(editcore: Run) -> Callable[..., set[str]]:
    """Every module that is loaded once a command line ran well.

    Read from `sys.modules`: `-X importtime` does not show what `importlib.import_module` loads.
    """

    def run(*arguments: str) -> set[str]:
        result = editcore(*arguments, program=("-c", MODULES))
        assert result.returncode == 0
        return set(result.stderr.splitlines()[-1].split())

    return run
