"""From requests to sealed patches, by a method that is ready: locate, compute, transform, seal."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from editcore.editing.checked import check_update
from editcore.editing.cost import Meter
from editcore.editing.model_unchanged import model_unchanged
from editcore.editing.prepared import PreparedMethod
from editcore.editing.seeding import seed_all
from editcore.editing.state import fold_state
from editcore.editing.update_to_patch import join_patches, seal_update
from editcore.models.running.finite import explained
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import StageManager, run_compute_update, run_locate, stage_manager
from editcore.plugins.locators import make_locator
from editcore.plugins.raising import noted
from editcore.plugins.transforms import apply_transforms, make_transforms
from editcore_hooks import EditRequest, Location, PluginError, Update, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def compute_patch(session: "OpenSession", requests: Sequence[EditRequest], run: PreparedMethod) -> Patch:
    """One patch of all `requests`, on the current model.

    A method without the capability `batch` is run once a request, each seeing the edits before it, and its low-rank
    updates are put side by side. Raises what the method refuses, and `UsageError` when updates cannot be joined.
    """
    require_requests(requests)
    with explained(session.model, lambda: read_first(session, requests)):
        return _compute_patch(session, requests, run)


def _compute_patch(session: "OpenSession", requests: Sequence[EditRequest], run: PreparedMethod) -> Patch:
    meter = Meter(session, run.options.memory)
    if len(requests) == 1 or "batch" in run.method.capabilities:
        with meter:
            update = compute_update(session, run, requests)
        return seal_update(session, run, requests, update).with_about(cost=meter.cost(len(requests)))
    updates: list[Update] = []
    patches: list[Patch] = []
    with meter, ExitStack() as entered, session.progress(f"{run.options.method} edits", len(requests)) as progress:
        for request in requests:
            updates.append(compute_update(session, run, [request]))
            patches.append(seal_update(session, run, [request], updates[-1]))
            entered.enter_context(session.patched(patches[-1]))
            progress.advance()
    return join_patches(session, run, requests, updates, patches).with_about(cost=meter.cost(len(requests)))


def compute_patches(session: "OpenSession", requests: Sequence[EditRequest], run: PreparedMethod) -> list[Patch]:
    """A patch for each of `requests`, computed alone on the current model. Raises what the method refuses."""
    require_requests(requests)
    meter = Meter(session, run.options.memory)
    with explained(session.model, lambda: read_first(session, requests)):
        with meter:
            updates = compute_updates(session, run, requests)
        cost = meter.cost(len(requests))
        pairs = zip(requests, updates, strict=True)
        return [seal_update(session, run, [request], update).with_about(cost=cost) for request, update in pairs]


def compute_update(session: "OpenSession", run: PreparedMethod, requests: Sequence[EditRequest]) -> Update:
    """One update for all `requests`, transforms applied."""
    manager = _manager(session, run)
    state = fold_state(session, run.method)
    with model_unchanged(session.model, f"the method {run.method.name}"):
        seed_all(session.seed)
        location = run_locate(manager, session, requests, state)
        update = run_compute_update(manager, session, requests, location, state)
        return _transformed(session, run, location, update)


def compute_updates(session: "OpenSession", run: PreparedMethod, requests: Sequence[EditRequest]) -> list[Update]:
    """The update of each request alone: together where the method can and nobody observes, else one by one."""
    manager = _manager(session, run)
    # An observer is promised every call; a location may depend on the request only where a locator was named.
    together = len(requests) > 1 and run.options.locator is None and not manager.observers("editcore_compute_update")
    if together:
        state = fold_state(session, run.method)
        with model_unchanged(session.model, f"the method {run.method.name}"):
            seed_all(session.seed)
            location = run_locate(manager, session, requests, state)
            with noted("compute_each", [(run.method, session.registry.called("method", run.method))]):
                updates = run.method.compute_each(session, requests, location, state)
            if updates is not None:
                if len(updates) != len(requests):
                    message = f"{run.method.name} returned {len(updates)} updates for {len(requests)} requests"
                    raise PluginError(message, hint="report this to its authors")
                return [_transformed(session, run, location, update) for update in updates]
    updates = []
    with session.progress(f"{run.options.method} edits", len(requests)) as progress:
        for request in requests:
            updates.append(compute_update(session, run, [request]))
            progress.advance()
    return updates


def require_requests(requests: Sequence[EditRequest]) -> None:
    """Raises `UsageError` where there is none."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give --prompt, --subject and --target, or --requests FILE")


def read_first(session: "OpenSession", requests: Sequence[EditRequest]) -> list[tuple[int, ...]]:
    """Input for testing a model that gives NaN."""
    return [session.encode(requests[0]).prompt_ids]


def _manager(session: "OpenSession", run: PreparedMethod) -> StageManager:
    return stage_manager(session.registry, run.method, make_locator(session.registry, run.options.locator))


def _transformed(session: "OpenSession", run: PreparedMethod, location: Location, update: Update) -> Update:
    """The update after the transforms; it and what they make of it are held against the contract."""
    check_update(session, f"the method {run.method.name}", location, update)
    for transform in make_transforms(session.registry, run.options.transforms):
        update = apply_transforms([transform], session, update)
        check_update(session, f"the transform {transform.name}", location, update)
    return update
