"""Runs a method for the conformance suite: through the host, or its stages alone, without the host's safety net."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from editcore.editing.prepared import EditOptions, PreparedMethod
from editcore.editing.seeding import seed_all
from editcore.editing.state import fold_state
from editcore.editing.update_to_patch import seal_update
from editcore.models.running.scoring import target_logits
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import run_compute_update, run_locate, stage_manager
from editcore.tuning.prepare import prepare
from editcore_hooks import EditMethod, EditRequest, Location, State, Update

if TYPE_CHECKING:
    from editcore.facade import Session
    from editcore.models.running.batch import Side


@frozen
class Method:
    """A method by name with its settings, and the requests that it is tried with."""

    name: str
    hparams: Mapping[str, Any]
    requests: tuple[EditRequest, ...]

    @property
    def options(self) -> EditOptions:
        return EditOptions(self.name, hparams=(("conformance", self.hparams),))

    def cls(self, session: "Session") -> type[EditMethod]:
        return session.registry.method(self.name)

    def batch(self, session: "Session") -> bool:
        """Whether it takes many requests in one update."""
        return "batch" in self.cls(session).capabilities

    def asked(self, session: "Session") -> tuple[EditRequest, ...]:
        """The requests of one update: all for a batch method, else the first."""
        return self.requests if self.batch(session) else self.requests[:1]

    def patch(self, session: "Session", requests: Sequence[EditRequest] | None = None) -> Patch:
        """The sealed patch, as people get it."""
        return session.edit_all(self.asked(session) if requests is None else requests, self.options, measured=False)

    def run(self, session: "Session") -> PreparedMethod:
        """The method made ready, as the host does."""
        return prepare(session, self.options)

    def located(self, session: "Session") -> Location:
        """The place that its settings name."""
        instance = self.run(session).method
        manager = stage_manager(session.registry, instance)
        return run_locate(manager, session, self.asked(session), fold_state(session, instance))

    def stages(
        self,
        session: "Session",
        requests: Sequence[EditRequest] | None = None,
        location: Location | None = None,
        state: State | None = None,
    ) -> tuple[Location, Update]:
        """The result of the method's own stages, seeded as the host does, without any correction afterwards."""
        instance = self.run(session).method
        manager = stage_manager(session.registry, instance)
        state = fold_state(session, instance) if state is None else state
        requests = self.asked(session) if requests is None else requests
        seed_all(session.seed)
        if location is None:
            location = run_locate(manager, session, requests, state)
        return location, run_compute_update(manager, session, requests, location, state)

    def sealed(self, session: "Session", requests: Sequence[EditRequest], state: State) -> Patch:
        """The patch of `stages` with this state."""
        _, update = self.stages(session, requests, state=state)
        return seal_update(session, self.run(session), requests, update)


def logprobs(session: "Session", requests: Sequence[EditRequest], side: "Side" = "right") -> Tensor:
    """Log-probabilities of every target token (n,), all requests in one padded batch."""
    encoded = [session.encode(request) for request in requests]
    with torch.no_grad():
        found = target_logits(session.model, [(row.prompt_ids, row.target_ids) for row in encoded], side=side)
    return found.logits.float().log_softmax(-1).gather(-1, found.labels[:, None])[:, 0]


def answers(session: "Session", requests: Sequence[EditRequest]) -> list[float]:
    """Log-probability of the whole target of each request, each scored alone."""
    return [float(logprobs(session, [request]).sum()) for request in requests]


def difference(one: Patch, other: Patch) -> float:
    """The largest ‖Δ₁ − Δ₂‖ / ‖Δ₁‖ over the tensors of two patches, or over the parts of their payloads.

    Infinite when they are not of the same tensors, or hold other data, texts or numbers that are not real.
    """
    from editcore.patches.forms.deltas import whole

    if one.targets.keys() != other.targets.keys() or one.kind != other.kind:
        return float("inf")
    if one.kind != "weights":
        return _payload_difference(one, other)
    worst = 0.0
    for key, target in one.targets.items():
        shape = target.shape
        rows, columns = shape[0], shape[1] if len(shape) > 1 else 1
        first, second = (
            delta.scale * delta.block(0, rows, columns)
            for delta in (whole(patch.deltas(key)) for patch in (one, other))
        )
        if first.norm() or second.norm():
            worst = max(worst, float((first - second).norm() / max(first.norm(), second.norm())))
    return worst


def _payload_difference(one: Patch, other: Patch) -> float:
    first, second = (
        {name: tensor for name, tensor in patch.tensors.items() if name.startswith("payload/")}
        for patch in (one, other)
    )
    data, others = (patch.core["payload"]["data"] for patch in (one, other))
    if data != others or first.keys() != second.keys():
        return float("inf")
    worst = 0.0
    for name, tensor in first.items():
        twin = second[name]
        if torch.equal(tensor, twin):
            continue
        if not tensor.is_floating_point() or tensor.shape != twin.shape:
            return float("inf")
        worst = max(worst, float((tensor - twin).norm() / max(tensor.norm(), twin.norm())))
    return worst
