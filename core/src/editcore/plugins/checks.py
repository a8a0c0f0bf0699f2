"""Find misuse of the hooks before any of them is called."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

import pluggy

from editcore.text.suggest import suggestion
from editcore_hooks import PROJECT, specs

SPECIFIED: Final = frozenset(name for name in vars(specs) if name.startswith("editcore_"))
STAGES: Final = frozenset(
    {"editcore_locate", "editcore_compute_update", "editcore_apply_patch", "editcore_evaluate", "editcore_train"}
)


def problems(manager: pluggy.PluginManager, plugin: Any) -> list[str]:
    """Faults of the hooks of a registered module: unmarked, misspelt, or a stage that is not a wrapper."""
    return [*misspelt(manager, plugin), *unmarked(plugin), *_misplaced(manager, plugin)]


def misspelt(manager: pluggy.PluginManager, plugin: Any) -> Iterator[str]:
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls()):
            meant = suggestion(caller.name, SPECIFIED)
            yield f"there is no hook {caller.name!r}" + (f": {meant}" if meant else "")


def unmarked(plugin: Any) -> Iterator[str]:
    """Functions named like a hook without `@hookimpl`: pluggy would pass over them in silence."""
    home = plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__module__
    for name in dir(plugin):
        if not name.startswith("editcore_"):
            continue
        value = inspect.getattr_static(plugin, name)
        if not inspect.isroutine(value) or hasattr(value, f"{PROJECT}_impl"):
            continue
        if name in SPECIFIED or getattr(value, "__module__", None) == home:
            yield f"{name!r} looks like a hook and is not marked: write @hookimpl above it"


def _misplaced(manager: pluggy.PluginManager, plugin: Any) -> Iterator[str]:
    for caller in manager.get_hookcallers(plugin) or ():
        for impl in caller.get_hookimpls():
            if caller.name in STAGES and not impl.wrapper:
                yield (
                    f"{caller.name!r} is a stage: a method instance implements it, "
                    "a plugin module may only watch it with @hookimpl(wrapper=True)"
                )
            elif caller.name not in STAGES and (impl.wrapper or impl.hookwrapper):
                yield f"an observer must not wrap {caller.name!r}"
