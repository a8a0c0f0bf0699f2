import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on disk: metadata, one entry point of the group `editcore`, one module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("EDITCORE_PLUGINS", raising=False)
    modules: list[str] = []

    def put(distribution: str, source: str, *, name: str | None = None, version: str = "1.0") -> None:
        stem = distribution.replace("-", "_")
        info = site / f"{stem}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[editcore]\n{name or distribution} = {stem}_entry\n")
        (site / f"{stem}_entry.py").write_text(textwrap.dedent(source))
        modules.append(f"{stem}_entry")
        importlib.invalidate_caches()

    yield put
    for module in modules:
        sys.modules.pop(module, None)
