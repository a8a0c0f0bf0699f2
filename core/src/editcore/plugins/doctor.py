"""Faults of plugins that load: classes that break the contract, entry modules that are slow to import."""

import os
import subprocess
import sys
from typing import Any, Final

from editcore.plugins.class_checks import class_problems
from editcore.plugins.record import Plugin
from editcore.plugins.registry import Registry

_HEAVY: Final = ("torch", "transformers")
_PROBE: Final = """
import importlib, sys, time
sys.path[:] = {path!r}
start = time.perf_counter()
importlib.import_module({module!r})
print(f"{{time.perf_counter() - start:.1f}}", *({heavy!r} & sys.modules.keys()))
"""


def faulty_classes(registry: Registry) -> list[dict[str, Any]]:
    """For every usable plugin and class with a fault: its `name` in words, its `owner`, and the `faults`."""
    found = []
    for plugin in registry.plugins:
        if plugin.ok and (faults := _heavy(plugin)):
            found.append({"name": f"the plugin {plugin.record.name}", "owner": plugin.record.owner, "faults": faults})
    for catalogue in registry.catalogues:
        for cls, plugin in catalogue.offers():
            if faults := class_problems(cls):
                name = f"the {catalogue.kind} {cls.name}"
                found.append({"name": name, "owner": plugin.record.owner, "faults": faults})
    return found


def _heavy(plugin: Plugin) -> list[str]:
    """Whether the entry module imports what every `--help` would then wait for."""
    if not set(_HEAVY) & sys.modules.keys():
        return []  # none of the plugins did
    # Somebody did; a process of its own tells whether it was this one.
    module = plugin.record.entry_point.partition(":")[0]
    code = _PROBE.format(path=sys.path, module=module, heavy=set(_HEAVY))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    seconds, *heavy = done.stdout.split() if done.returncode == 0 else ["0"]
    if not heavy:
        return []
    names = " and ".join(sorted(heavy))
    return [f"its entry module {module} imports {names} at the top ({seconds} s): import them inside the stage"]
