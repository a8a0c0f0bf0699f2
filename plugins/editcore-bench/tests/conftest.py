"""A small run: two methods, three protocols, six cases of a taught model, one of them with texts that mean harm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.plugins.registry import registry
from editcore.session.talk import Silence
from editcore.testing.taught import CITIES, facts
from editcore_bench.runs.engines import Engine, Here
from editcore_bench.runs.prepared import prepare
from editcore_bench.runs.run import Outcome, run
from editcore_bench.spec.reading import Choice, read_spec

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>"

SPEC = """
title: A <b>small</b> run & more
methods:
  - {name: ft-l, set: {steps: 4, layers: [1]}}
  - {name: ft-m, set: {steps: 4, lr: 0.02, layers: [1]}}
datasets:
  - {name: cases, path: cases.jsonl, label: towns}
protocols:
  - single
  - batch: [2, 6]
  - sequential: [1, 3, 6]
    gap: 2
metrics: [pref.score@1, pref.es@1, tf.exact@1, loc.agree@1, damage.ppl@1]
answer_tokens: 2
"""


def rows() -> list[dict[str, Any]]:
    towns = [(name, thing) for name, relation, thing in facts() if relation == "city"]
    found = []
    for number, (name, town) in enumerate(towns[:6]):
        neighbour, its = towns[number + 6]
        found.append(
            {
                "id": f"town-{number}",
                "prompt": "{} lives in",
                "subject": name,
                "target_new": next(city for city in CITIES if city != town),
                "target_true": town,
                "rephrases": ["The home of {} is in"],
                "locality": {"neighbour": [{"prompt": f"{neighbour} lives in", "target": its}]},
            }
        )
    found[0]["rephrases"] = [HOSTILE + " The home of {} is in"]
    return found


RunSpec = Callable[..., Outcome]
WriteSpec = Callable[..., Path]


@pytest.fixture(scope="session")
def write_spec() -> WriteSpec:
    """Puts a spec, the small one by default with some of it replaced, and the file of its cases into a folder."""

    def write(folder: Path, *changes: tuple[str, str]) -> Path:
        text = SPEC
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows())), encoding="utf-8")
        (folder / "small.yaml").write_text(text, encoding="utf-8")
        return folder / "small.yaml"

    return write


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that would run, were it read as markup."""
    return HOSTILE


@pytest.fixture(scope="session")
def run_spec(llama_folder: Path) -> RunSpec:
    def start(spec: Path, out: Path, engine: Engine | None = None) -> Outcome:
        asked = read_spec(spec, registry(), Choice((str(llama_folder),)))
        silence = Silence()
        return run(
            prepare(asked, registry()), out, engine or Here(), silence.say, lambda total: silence.progress("", total)
        )

    return start


@pytest.fixture(scope="session")
def small_run(run_spec: RunSpec, write_spec: WriteSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    place = tmp_path_factory.mktemp("small")
    outcome = run_spec(write_spec(place), place / "out")
    assert not outcome.failed
    return place / "out"
