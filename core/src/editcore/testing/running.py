"""Runs a method for the conformance suite: through the host, or its stages alone, without the host's safety net."""

import math
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
    """The largest of `differences`."""
    return max(differences(one, other).values(), default=0.0)


def differences(one: Patch, other: Patch) -> dict[str, float]:
    """‖Δ₁ − Δ₂‖ / max(‖Δ₁‖, ‖Δ₂‖) by name, of each tensor of two patches, or of each part of their payloads.

    Infinite for what is not comparable: tensors that only one has, other data, texts or numbers that are not real.
    """
    from editcore.patches.forms.deltas import whole

    if one.kind != other.kind:
        return {"the kind": math.inf}
    if one.kind != "weights":
        return _of_payloads(one, other)
    found = dict.fromkeys(sorted(one.targets.keys() ^ other.targets.keys()), math.inf)
    for key in sorted(one.targets.keys() & other.targets.keys()):
        shape = one.targets[key].shape
        rows, columns = shape[0], shape[1] if len(shape) > 1 else 1
        first, second = (
            delta.scale * delta.block(0, rows, columns)
            for delta in (whole(patch.deltas(key)) for patch in (one, other))
        )
        found[key] = _relative(first, second)
    return found


def _of_payloads(one: Patch, other: Patch) -> dict[str, float]:
    first, second = (
        {name: tensor for name, tensor in patch.tensors.items() if name.startswith("payload/")}
        for patch in (one, other)
    )
    data, others = (patch.core["payload"]["data"] for patch in (one, other))
    found = {f"the data {name!r}": math.inf for name in sorted({*data, *others}) if data.get(name) != others.get(name)}
    found |= dict.fromkeys(sorted(first.keys() ^ second.keys()), math.inf)
    for name in sorted(first.keys() & second.keys()):
        tensor, twin = first[name], second[name]
        comparable = tensor.is_floating_point() and tensor.shape == twin.shape
        same = torch.equal(tensor, twin)
        found[name] = 0.0 if same else _relative(tensor, twin) if comparable else math.inf
    return found


def _relative(one: Tensor, other: Tensor) -> float:
    largest = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / largest if largest else 0.0
