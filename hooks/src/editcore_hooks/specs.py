"""The hooks. Arguments are only ever added: pluggy passes an implementation just those that it names.

Registration hooks return classes; the host calls each plugin's once and chooses by name. The stages run in a small
plugin manager of each call: the chosen method instance, the locator and the observers. An observer is a plugin module
that implements a stage as a wrapper (`@hookimpl(wrapper=True)`): it may watch or raise, and the host checks that the
update is the same to the last bit after it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from editcore_hooks.kinds import PatchKind
from editcore_hooks.markers import hookspec
from editcore_hooks.plugins import (
    Architecture,
    Dataset,
    EditMethod,
    Locator,
    Metric,
    Transform,
)
from editcore_hooks.requests import Case, EditRequest
from editcore_hooks.values import Applied, Asset, Location, Patch, Report, State, Update

if TYPE_CHECKING:
    from editcore_hooks.session import Session


@hookspec
def editcore_register_methods() -> list[type[EditMethod]]:  # type: ignore[empty-body]
    """Return the editing methods of this plugin.

    Called once, when a method is first looked up by name. Must not import torch. Must not be wrapped.
    """


@hookspec
def editcore_register_locators() -> list[type[Locator]]:  # type: ignore[empty-body]
    """Return the locators of this plugin. Called once, when one is first looked up. Must not be wrapped."""


@hookspec
def editcore_register_transforms() -> list[type[Transform]]:  # type: ignore[empty-body]
    """Return the transforms of this plugin. Called once, when one is first opted into. Must not be wrapped."""


@hookspec
def editcore_register_metrics() -> list[type[Metric]]:  # type: ignore[empty-body]
    """Return the metrics of this plugin, each named with its version. Called once. Must not be wrapped."""


@hookspec
def editcore_register_datasets() -> list[type[Dataset]]:  # type: ignore[empty-body]
    """Return the dataset layouts that this plugin reads. Called once. Must not be wrapped."""


@hookspec
def editcore_register_architectures() -> list[type[Architecture]]:  # type: ignore[empty-body]
    """Return maps of model families. Called once, when a model is first opened. Must not be wrapped."""


@hookspec
def editcore_register_patch_kinds() -> list[type[PatchKind]]:  # type: ignore[empty-body]
    """Return the owners of `modules` and `memory` patches. Called once, when one is first met. Must not be wrapped."""


@hookspec
def editcore_register_commands(cli: Any) -> None:
    """Add commands: `cli.add(name, "package.module:command", help)`; the module is imported when it runs.

    `cli` is the command group. Called when the commands are listed for the first time after packages or their files
    changed, so the answer must depend on nothing else; must not import torch. Must not be wrapped.
    """


@hookspec
def editcore_observing() -> bool:  # type: ignore[empty-body]
    """Return whether the wrappers of this plugin should run now; a plugin without this hook always observes.

    For an observer that people switch on: while it is off, the host may work on many edits at once. Called before
    every stage; must not import torch. Must not be wrapped.
    """


@hookspec(firstresult=True)
def editcore_locate(session: "Session", requests: Sequence[EditRequest], state: State) -> Location | None:
    """Say where to edit.

    `session` is the open model, `requests` the edits of this call, `state` what earlier edits left. Returns a
    Location, or None to leave it to the next: a locator named by the user comes before the method. Called once an
    update, before `editcore_compute_update`. Observers may wrap it and must pass the result on unchanged.
    """


@hookspec(firstresult=True)
def editcore_compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State
) -> Update | None:
    """Compute the change; do not make it.

    `session`, `requests` and `state` are those of `editcore_locate`, `location` is its result. Afterwards every
    weight, hook, RNG state, train or eval mode and `requires_grad` of the model must be as before; the host restores
    RNG and modes and raises when a weight or a hook differs. Called once a patch, after `editcore_locate`, under
    `session.seed`. Observers may wrap it and must pass the result on unchanged.
    """


@hookspec(firstresult=True)
def editcore_apply_patch(target: Any, patch: Patch) -> Applied | None:
    """Put the sealed `patch` on `target`: a Session (in memory) or a Checkpoint (a folder on disk).

    The host implements it for every kind of patch, so methods do not. Called once a patch and target, after the base
    was verified. Observers may wrap it: before the yield nothing is written, an exception before it stops the patch.
    A folder gets all patches of a command in one write after the last call, so that one exception stops them all;
    `target.expected` then lists the patches that this one would lie on, including those called before it.
    """


@hookspec
def editcore_evaluate(session: "Session", cases: Sequence[Case], metrics: Sequence[str]) -> list[Report]:  # type: ignore[empty-body]
    """Score `cases` on the current model of `session`, for the names in `metrics` that this plugin owns.

    Results of all implementations are collected. Called by `edit` before a patch is written and by evaluation.
    Observers may wrap it and must pass the reports on unchanged.
    """


@hookspec(firstresult=True)
def editcore_train(session: "Session", examples: Sequence[Case], options: dict[str, Any]) -> Asset | None:
    """Train what a method needs before its first edit (a hypernetwork, a scope classifier) and keep it as an asset.

    `session` is the open model, `examples` are training cases, `options` the training settings as JSON values. Called
    only when asked for. Observers may wrap it.
    """
