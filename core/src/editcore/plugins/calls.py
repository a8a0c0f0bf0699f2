"""The plugin manager of one call: the chosen method instance, the locator named, the observers, and nothing else."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pluggy

from editcore.plugins.checks import STAGES, misspelt, unmarked
from editcore.plugins.digest import digest
from editcore.plugins.raising import Actor, noted
from editcore.plugins.registry import Registry
from editcore.plugins.selection import VARIABLE
from editcore.plugins.tracing import traced
from editcore_hooks import (
    PROJECT,
    Applied,
    Asset,
    Case,
    EditMethod,
    EditRequest,
    Location,
    Locator,
    Patch,
    PluginError,
    Report,
    Session,
    State,
    Update,
    UsageError,
    hookimpl,
    specs,
)

T = TypeVar("T")

_OF_METHOD = frozenset({"editcore_locate", "editcore_compute_update", "editcore_evaluate", "editcore_train"})
_OF_LOCATOR = frozenset({"editcore_locate"})


class StageManager(pluggy.PluginManager):
    """Runs the stages of one call. Made by `stage_manager`."""

    def __init__(self, method: EditMethod | None = None, locator: Locator | None = None) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(specs)
        self.method, self.locator = method, locator
        self.witness = _Witness()
        traced(self)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is not None and not options["wrapper"]:
            # The order is the host's: a method marked `tryfirst` must not overtake the locator that was named.
            options["tryfirst"] = options["trylast"] = False
        return options

    def observers(self, stage: str) -> list[str]:
        """Names of the plugins that wrap this stage."""
        impls = getattr(self.hook, stage).get_hookimpls()
        return [impl.plugin_name for impl in impls if impl.wrapper and impl.plugin is not self.witness]

    def makers(self, stage: str) -> list[str]:
        """The methods and locators that answer this stage, in words."""
        names = [impl.plugin_name for impl in getattr(self.hook, stage).get_hookimpls() if not impl.wrapper]
        return [name for name in names if name.startswith(("method ", "locator "))]

    def run(self, stage: str, **arguments: Any) -> Any:
        """Call a stage; raise `PluginError` when what observers hand back is not what they were handed.

        What an observer raises passes as it is: refusing is its right.
        """
        watching = self.observers(stage)
        self.witness.begin(bool(watching))
        result = getattr(self.hook, stage)(**arguments)
        if watching and self.witness.seen != digest(result):
            names = ", ".join(watching)
            raise PluginError(
                f"an observer changed the result of {stage}: {names}",
                hint=f"leave it out, as an observer may only watch or refuse: {VARIABLE}=-{watching[0]}",
            )
        return result


class _Witness:
    """The innermost wrapper of every stage: takes the digest of the result before any observer sees it."""

    def __init__(self) -> None:
        self.seen: str | None = None
        self.actors: list[Actor] = []
        self._needed = False

    def begin(self, needed: bool) -> None:
        self.seen, self._needed = None, needed

    def _watch(self, stage: str) -> Iterator[Any]:
        # Only what implements the stage runs inside; what an observer raises passes as it is.
        with noted(stage, self.actors):
            result = yield
        if self._needed:
            self.seen = digest(result)
        return result

    # `trylast` and registered last: of all wrappers the one that runs closest to the implementation.
    @hookimpl(wrapper=True, trylast=True)
    def editcore_locate(self) -> Any:
        return (yield from self._watch("editcore_locate"))

    @hookimpl(wrapper=True, trylast=True)
    def editcore_compute_update(self) -> Any:
        return (yield from self._watch("editcore_compute_update"))

    @hookimpl(wrapper=True, trylast=True)
    def editcore_apply_patch(self) -> Any:
        return (yield from self._watch("editcore_apply_patch"))

    @hookimpl(wrapper=True, trylast=True)
    def editcore_evaluate(self) -> Any:
        return (yield from self._watch("editcore_evaluate"))

    @hookimpl(wrapper=True, trylast=True)
    def editcore_train(self) -> Any:
        return (yield from self._watch("editcore_train"))


def stage_manager(
    registry: Registry,
    method: EditMethod | None = None,
    locator: Locator | None = None,
    appliers: Sequence[Any] = (),
) -> StageManager:
    """Build the manager of one call. `appliers` are the core's own objects that apply patches or evaluate.

    Raises `PluginError` when a method or locator misuses the hooks.
    """
    manager = StageManager(method, locator)
    for applier in appliers:
        manager.register(applier)
    # The last one registered is called first, so the locator comes after the method here and before it in the call.
    for kind, instance, stages in (("method", method, _OF_METHOD), ("locator", locator, _OF_LOCATOR)):
        if instance is not None:
            _admit(manager, instance, f"{kind} {instance.name}", stages)
            manager.witness.actors.append((instance, registry.called(kind, instance)))
    for plugin in registry.observers:
        manager.register(plugin.module, plugin.record.name)
    manager.register(manager.witness)
    return manager


def _admit(manager: StageManager, instance: Any, what: str, stages: frozenset[str]) -> None:
    try:
        manager.register(instance, what)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"the {what} does not fit its hooks: {error}") from error
    wrong = [*misspelt(manager, instance), *unmarked(instance)]
    callers = {caller.name: caller for caller in manager.get_hookcallers(instance) or ()}
    for name in sorted(callers.keys() & (STAGES - stages)):
        wrong.append(f"it must not implement {name!r}")
    for name, caller in callers.items():
        for impl in caller.get_hookimpls():
            if impl.plugin is instance and (impl.wrapper or impl.hookwrapper):
                wrong.append(f"{name!r} must not be a wrapper here: wrappers are observers, and live in plugin modules")
    if wrong:
        raise PluginError(f"the {what} breaks the contract: {'; '.join(wrong)}")


def run_locate(manager: StageManager, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
    """The place of the edit: the locator's answer, else the method's.

    Raises `PluginError` when neither gives one, `UsageError` for a number of sites that the method does not take.
    """
    result = manager.run("editcore_locate", session=session, requests=requests, state=state)
    location = _expect(result, Location, "editcore_locate", manager)
    method, locator = manager.method, manager.locator
    if method is not None and method.one_site and len(location.sites) != 1:
        found = f"{len(location.sites)}: {', '.join(map(str, location.sites))}" if location.sites else "none"
        by = "its own stage" if locator is None else f"the locator {locator.name}"
        hint = "name a locator that gives one site, or leave it out"
        raise UsageError(f"{method.name} edits one site; {by} gave {found}", hint=hint)
    return location


def run_compute_update(
    manager: StageManager, session: Session, requests: Sequence[EditRequest], location: Location, state: State
) -> Update:
    """The update of the method. That the model is as before is checked by the caller, who knows the model."""
    result = manager.run("editcore_compute_update", session=session, requests=requests, location=location, state=state)
    return _expect(result, Update, "editcore_compute_update", manager)


def run_apply_patch(manager: StageManager, target: Any, patch: Patch) -> Applied:
    """Put a patch on a session or a checkpoint by the applier that takes it."""
    return _expect(manager.run("editcore_apply_patch", target=target, patch=patch), Applied, "editcore_apply_patch")


def run_evaluate(
    manager: StageManager, session: Session, cases: Sequence[Case], metrics: Sequence[str]
) -> list[Report]:
    """The reports of every implementation, in one list."""
    collected = manager.run("editcore_evaluate", session=session, cases=cases, metrics=metrics)
    return [_expect(report, Report, "editcore_evaluate") for reports in collected for report in reports]


def run_train(manager: StageManager, session: Session, examples: Sequence[Case], options: dict[str, Any]) -> Asset:
    """What the method trained. Raises `PluginError` when it returns none."""
    result = manager.run("editcore_train", session=session, examples=examples, options=options)
    return _expect(result, Asset, "editcore_train", manager)


def _expect(result: Any, kind: type[T], stage: str, manager: StageManager | None = None) -> T:
    if not isinstance(result, kind):
        got = "nothing" if result is None else f"a {type(result).__name__}"
        asked = [] if manager is None else manager.makers(stage)
        owner = f"{' and '.join(asked)}: " if asked else ""
        raise PluginError(
            f"{owner}{stage} returned {got} instead of its {kind.__name__}", hint="editcore plugins doctor"
        )
    return result
