"""Every method that locates and writes, as a user meets it: a few facts, the bundled model, no settings."""

import json
from pathlib import Path

import pytest

import editcore
from editcore.assets.store import AssetStore
from editcore.cases.reading import parse_case
from editcore.cli import main
from editcore.patches.file.patch import Patch
from editcore_demo import cases, model_path

FIRST, N = 300, 4
"""Presets were chosen on cases of 200 and above; scores are those of the cases below."""
TOKENS = 6000
"""Of the second moments: fewer than an edit collects by itself, so that the test is short."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("method", ["memit", "emmet", "pmet", "alphaedit", "ultraedit", "kn"])
def test_facts_are_written_by_the_command_line_without_settings(
    method: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITCORE_CACHE", str(cache))
    rows = cases(FIRST + N)[FIRST:]
    (tmp_path / "facts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    made = tmp_path / "facts.safetensors"
    moments = [] if method in ("ultraedit", "kn") else ["--set", f"mom2_tokens={TOKENS}"]
    command = [
        "edit",
        model_path(),
        "--method",
        method,
        "--requests",
        tmp_path / "facts.jsonl",
        "-o",
        made,
        *moments,
        "--allow-failed",
    ]
    assert main([str(each) for each in command]) == 0
    session = editcore.open(model_path(), assets=AssetStore(cache / "assets"))
    chosen = [parse_case(row, "the demo's cases") for row in rows]
    with session.patched(Patch.load(made)):
        (efficacy,) = session.evaluate(chosen, ["pref.es@1"])
    assert efficacy.value >= 0.75
