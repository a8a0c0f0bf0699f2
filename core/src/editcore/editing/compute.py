"""From requests to sealed patches: choose the method, locate, compute, transform, seal."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from editcore.editing.checked import check_location, check_update
from editcore.editing.cost import Meter
from editcore.editing.model_unchanged import model_unchanged
from editcore.editing.seeding import seed_all
from editcore.editing.state import fold_state
from editcore.editing.update_to_patch import join_patches, seal_update
from editcore.models.running.finite import explained
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import StageManager, run_compute_update, run_locate, stage_manager
from editcore.plugins.hparams import Resolved, merge
from editcore.plugins.locators import make_locator
from editcore.plugins.raising import noted
from editcore.plugins.transforms import apply_transforms, make_transforms
from editcore.text.ids import short
from editcore.tuning.profiles import Profile
from editcore.tuning.settings import find_settings
from editcore_hooks import EditMethod, EditRequest, Location, PluginError, Update, UsageError

if TYPE_CHECKING:
    from editcore.facade import Session


@frozen
class EditOptions:
    """How to edit. `hparams` are layers of values over profile and preset, each with the name of its source.

    `profile` names a profile of the model; without one its default profile is used where there is one. Where there is
    neither that nor a preset, and neither a layer nor a locator chooses what could be tuned, the model is tuned first
    unless `tune` is False; again, where the method has other settings to try by now.
    `memory` notes the peak of memory in the patch; the process's own record of its peak starts anew for it.
    """

    method: str = "rome"
    profile: str | None = None
    tune: bool = True
    hparams: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    transforms: tuple[str, ...] = ()
    locator: str | None = None
    title: str | None = None
    memory: bool = False


@frozen
class PreparedMethod:
    """A method made ready for one session."""

    method: EditMethod
    resolved: Resolved
    options: EditOptions = field(repr=False)
    profile: Profile | None = None
    preset: str | None = None

    @property
    def source(self) -> str | None:
        """What its settings are, in words; None where they are the method's defaults and what the call says."""
        if self.profile is not None:
            return f"profile {self.profile.name}"
        return None if self.preset is None else f"preset {self.preset}"


def prepare(session: "Session", options: EditOptions, edits: int = 1) -> PreparedMethod:
    """Find the method and resolve its hyper-parameters for so many edits. Raises `PluginError`, `UsageError`."""
    _require_weights(session)
    cls = session.registry.method(options.method)
    edits = edits if "batch" in cls.capabilities else 1
    # what is misspelt is refused before anything takes time
    merge(cls.Hparams, *options.hparams)
    make_locator(session.registry, options.locator)
    make_transforms(session.registry, options.transforms)
    found = find_settings(session, cls, options, edits)
    resolved = merge(cls.Hparams, *found.layers, *options.hparams)
    return PreparedMethod(cls(resolved.hparams), resolved, options, found.profile, found.preset)


def compute_patch(session: "Session", requests: Sequence[EditRequest], options: EditOptions) -> Patch:
    """One patch of all `requests`, on the model as it stands.

    A method without the capability `batch` is run once a request, each seeing the edits before it, and its low-rank
    updates are put side by side. Raises what the method refuses, and `UsageError` when updates cannot be joined.
    """
    _some(requests)
    with explained(session.model, lambda: _read_first(session, requests)):
        return _compute_patch(session, requests, options)


def _compute_patch(session: "Session", requests: Sequence[EditRequest], options: EditOptions) -> Patch:
    run = prepare(session, options, len(requests))
    meter = Meter(session, options.memory)
    if len(requests) == 1 or "batch" in run.method.capabilities:
        with meter:
            update = compute_update(session, run, requests)
        return seal_update(session, run, requests, update).with_about(cost=meter.cost(len(requests)))
    updates: list[Update] = []
    patches: list[Patch] = []
    with meter, ExitStack() as entered, session.progress(f"{options.method} edits", len(requests)) as progress:
        for request in requests:
            updates.append(compute_update(session, run, [request]))
            patches.append(seal_update(session, run, [request], updates[-1]))
            entered.enter_context(session.patched(patches[-1]))
            progress.advance()
    return join_patches(session, run, requests, updates, patches).with_about(cost=meter.cost(len(requests)))


def compute_patches(session: "Session", requests: Sequence[EditRequest], options: EditOptions) -> list[Patch]:
    """A patch for each of `requests`, computed alone on the model as it stands. Raises what the method refuses."""
    _some(requests)
    run = prepare(session, options)
    meter = Meter(session, options.memory)
    with explained(session.model, lambda: _read_first(session, requests)):
        with meter:
            updates = compute_updates(session, run, requests)
        cost = meter.cost(len(requests))
        pairs = zip(requests, updates, strict=True)
        return [seal_update(session, run, [request], update).with_about(cost=cost) for request, update in pairs]


def compute_update(session: "Session", run: PreparedMethod, requests: Sequence[EditRequest]) -> Update:
    """One update for all `requests`, transforms applied."""
    manager = _manager(session, run)
    state = fold_state(session, run.method)
    with model_unchanged(session.model, f"the method {run.method.name}"):
        seed_all(session.seed)
        location = _located(run, run_locate(manager, session, requests, state))
        update = run_compute_update(manager, session, requests, location, state)
        return _transformed(session, run, location, update)


def compute_updates(session: "Session", run: PreparedMethod, requests: Sequence[EditRequest]) -> list[Update]:
    """The update of each request alone: together where the method can and nobody observes, else one by one."""
    manager = _manager(session, run)
    # An observer is promised every call; a location may depend on the request only where a locator was named.
    together = len(requests) > 1 and run.options.locator is None and not manager.observers("editcore_compute_update")
    if together:
        state = fold_state(session, run.method)
        with model_unchanged(session.model, f"the method {run.method.name}"):
            seed_all(session.seed)
            location = _located(run, run_locate(manager, session, requests, state))
            with noted("compute_each", [(run.method, session.registry.called("method", run.method))]):
                updates = run.method.compute_each(session, requests, location, state)
            if updates is not None:
                if len(updates) != len(requests):
                    message = f"{run.method.name} gave {len(updates)} updates for {len(requests)} requests"
                    raise PluginError(message, hint="report it to its authors")
                return [_transformed(session, run, location, update) for update in updates]
    return [compute_update(session, run, [request]) for request in requests]


def _require_weights(session: "Session") -> None:
    """Methods read weights, so these must be the ones that answer. Raises `UsageError`."""
    if session.loaded.quantised:
        raise UsageError(
            f"{session.loaded.name} is quantised, and an edit is computed on its base",
            hint="open that in 16 or 32 bits; its patches run beside quantised weights too",
        )
    if session.live.beside:
        raise UsageError(
            f"patch {short(session.live.beside[0])} runs beside the weights, and a method would not see it",
            hint="open the model without `beside`",
        )


def _some(requests: Sequence[EditRequest]) -> None:
    if not requests:
        raise UsageError("there is nothing to edit", hint="give --prompt, --subject and --target, or --requests FILE")


def _read_first(session: "Session", requests: Sequence[EditRequest]) -> list[tuple[int, ...]]:
    """What a model that gives NaN is tried on."""
    return [session.encode(requests[0]).prompt_ids]


def _manager(session: "Session", run: PreparedMethod) -> StageManager:
    return stage_manager(session.registry, run.method, make_locator(session.registry, run.options.locator))


def _located(run: PreparedMethod, location: Location) -> Location:
    locator = run.options.locator
    return check_location(f"the {f'locator {locator}' if locator else f'method {run.method.name}'}", location)


def _transformed(session: "Session", run: PreparedMethod, location: Location, update: Update) -> Update:
    """The update after the transforms; it and what they make of it are held against the contract."""
    check_update(session, f"the method {run.method.name}", location, update)
    for transform in make_transforms(session.registry, run.options.transforms):
        update = apply_transforms([transform], session, update)
        check_update(session, f"the transform {transform.name}", location, update)
    return update
