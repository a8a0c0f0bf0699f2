"""From a method and cases to a trained asset, by the hook `editcore_train`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from editcore.editing.model_unchanged import model_unchanged
from editcore.editing.prepared import EditOptions
from editcore.editing.seeding import seed_all
from editcore.plugins.calls import run_train, stage_manager
from editcore.training.data import usable
from editcore.training.plan import plan_of
from editcore.tuning.prepare import prepare
from editcore_hooks import Asset, Case, EditMethod, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def train(
    session: "OpenSession", cases: Sequence[Case], options: EditOptions, plan: Mapping[str, Any] | None = None
) -> Asset:
    """Train the method of `options` on `cases` and keep the result as an asset of the base.

    `plan` are settings of `Plan` in place of the method's own. Raises `UsageError` for a method that has nothing to
    train, for unknown settings and for too few usable cases; `EditcoreError` where the training diverges.
    """
    cls = session.registry.method(options.method)
    _require_trained(session, cls)
    plan = dict(plan or {})
    plan_of(("options", plan))  # what is misspelt is refused before anything takes time
    run = prepare(session, options)
    ready = usable(session, cases)
    with model_unchanged(session.model, f"the training of {cls.name}"):
        seed_all(session.seed)
        return run_train(stage_manager(session.registry, run.method), session, ready, plan)


def _require_trained(session: "OpenSession", cls: type[EditMethod]) -> None:
    if hasattr(cls, "editcore_train"):
        return
    known = [name for name, one in session.registry.methods.classes().items() if hasattr(one, "editcore_train")]
    raise UsageError(
        f"{cls.name} has nothing to train: it edits at once",
        hint=f"choose one of {', '.join(sorted(known))}" if known else f"editcore edit MODEL --method {cls.name}",
    )
