"""The examples of docs/plugins.md beyond the first: a hook implemented directly, and a metric in two phases."""

import re
import types
from pathlib import Path

import editcore
from editcore.plugins.registry import Registry
from editcore_hooks import Case, EditRequest, hookimpl

GUIDE = Path(__file__).parents[1] / "docs/plugins.md"


def test_the_hook_and_the_metric_of_the_guide_work(llama_folder: Path) -> None:
    module = types.ModuleType("editcore_mine.hooks")
    python = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    for name in ("class Nudge(", "class NudgeByHook(", "class FirstToken("):
        code = next(block for block in python if name in block)
        exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    classes = vars(module)
    module.editcore_register_methods = hookimpl(lambda: [classes["NudgeByHook"]])  # type: ignore[attr-defined]
    module.editcore_register_metrics = hookimpl(lambda: [classes["FirstToken"]])  # type: ignore[attr-defined]
    session = editcore.open(llama_folder, registry_=Registry.of(module))
    request = EditRequest("{} works as a", "Ada Marlow", "pilot")
    patch = session.edit_all([request], editcore.EditOptions("nudge-by-hook"), measured=False)
    assert list(patch.targets) == [f"model.layers.{session.anatomy.n_layers - 1}.mlp.down_proj.weight"]
    (report,) = session.evaluate([Case(request)], ["mine.first-token@1"])
    assert report.n == 1
    assert report.value in (0, 1)
