"""The examples of docs/plugins.md beyond the first: a hook implemented directly, and a metric in two phases."""

import re
import types
from pathlib import Path
from typing import Any

import editcore
from editcore.plugins.registry import Registry
from editcore_hooks import Case, EditRequest, Site, hookimpl

GUIDE = Path(__file__).parents[1] / "docs/plugins.md"


def test_the_hook_and_the_metric_of_the_guide_work(llama_folder: Path) -> None:
    module = types.ModuleType("editcore_mine.hooks")
    python = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    for name in ("class Nudge(", "class NudgeByHook(", "class FirstToken(", "class LargestWeight("):
        code = next(block for block in python if name in block)
        exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    classes = vars(module)
    module.editcore_register_methods = hookimpl(lambda: [classes["Nudge"], classes["NudgeByHook"]])  # type: ignore[attr-defined]
    module.editcore_register_metrics = hookimpl(lambda: [classes["FirstToken"], classes["Says"]])  # type: ignore[attr-defined]
    module.editcore_register_locators = hookimpl(lambda: [classes["LargestWeight"]])  # type: ignore[attr-defined]
    session = editcore.open(llama_folder, registry_=Registry.of(module))
    request = EditRequest("{} works as a", "Ada Marlow", "pilot")
    patch = session.edit_all([request], editcore.EditOptions("nudge-by-hook"), measured=False)
    assert list(patch.targets) == [f"model.layers.{session.anatomy.n_layers - 1}.mlp.down_proj.weight"]
    (report,) = session.evaluate([Case(request)], ["mine.first-token@1"])
    assert report.n == 1
    assert report.value in (0, 1)
    (written,) = session.evaluate([Case(request)], ["mine.says@1"])
    assert written.rows[0]["value"] == float("pilot" in written.rows[0]["written"])
    found = session.edit_all([request], editcore.EditOptions("nudge", locator="largest-weight"), measured=False)
    norms = [float(session.anatomy.weight(Site("mlp_out", i)).norm()) for i in range(session.anatomy.n_layers)]
    assert list(found.targets) == [f"model.layers.{norms.index(max(norms))}.mlp.down_proj.weight"]


def test_the_vector_of_the_guide_makes_the_target_likely(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    code = re.search(r"```python\n([^`]*?def fitted\(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    defined: dict[str, Any] = {}
    exec(compile(code[1], str(GUIDE), "exec"), defined)
    request, site = EditRequest("{} works as a", "Ada Marlow", "pilot"), Site("mlp_out", 1)
    losses = [defined["fitted"](session, request, site, steps)[1] for steps in (1, 20)]
    assert losses[1] < losses[0] - 1
