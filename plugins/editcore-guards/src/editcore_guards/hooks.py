"""The entry module: light, no torch. Transforms do nothing unless named, the observer nothing without a budget."""

import os
from typing import Any

from editcore_guards.hparams import PruneHparams, RectHparams
from editcore_hooks import Applied, Session, Transform, Update, hookimpl

EDITCORE_API = ">=1.0,<2"


class Rect(Transform):
    """Keep the entries that change most for their size."""

    name = "rect"
    summary = "keeps the part of an update that changes entries most for their size"
    paper = "Gu et al. 2024, arXiv:2401.04700"
    Hparams = RectHparams

    def transform(self, session: Session, update: Update) -> Update:
        from editcore_guards.rect import rect

        return rect(session, update, self.hparams.keep)


class Prune(Transform):
    """Keep the sum of all edits below the weight's own largest singular value."""

    name = "prune"
    summary = "shrinks what all edits add up to where it is larger than the weight itself"
    paper = "Ma et al. 2024, arXiv:2405.16821"
    Hparams = PruneHparams

    def transform(self, session: Session, update: Update) -> Update:
        from editcore_guards.prune import prune

        return prune(session, update, self.hparams.base)


@hookimpl
def editcore_register_transforms() -> list[type[Transform]]:
    return [Rect, Prune]


@hookimpl
def editcore_observing() -> bool:
    return bool(os.environ.get("EDITCORE_BUDGET"))


@hookimpl(wrapper=True)
def editcore_apply_patch(target: Any, patch: Any) -> Any:
    # This stage and not the computation: an observer there would keep the host from computing edits together.
    from editcore_guards.budget import read_budget, require_within

    require_within(target, patch, read_budget(os.environ["EDITCORE_BUDGET"]))
    result: Applied = yield
    return result
