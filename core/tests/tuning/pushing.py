"""A crude method for the tests of tuning, whose best settings are known."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from attrs import frozen

from editcore import EditRequest
from editcore_hooks import (
    Case,
    EditMethod,
    Location,
    Locator,
    LowRank,
    Probe,
    Site,
    State,
    Tunable,
    Update,
    hookimpl,
    hparam,
)

UNHURRIED = 1e6


@frozen
class PushHparams:
    layer: int = hparam(0, help="where")
    strength: float = hparam(0.0, help="how far towards the target's embedding")
    noise: float = hparam(0.0, help="how far in a direction of no use")


class Push(EditMethod):
    """Moves the value at the subject's key towards the target: crude, but better the stronger, and worse with noise."""

    name = "push"
    Hparams = PushHparams
    calls: ClassVar[list[PushHparams]] = []

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return Tunable(
            places=({"layer": 3}, {"layer": 2}, {"layer": 0}),
            recipes=({"strength": 1.0}, {"strength": 0.0}, {"strength": 1.0, "noise": 30.0}),
        )

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore.models.running.batch import forward, pad
        from editcore.models.running.tracing import Tap, Trace
        from editcore.models.tokens.spans import encode_request

        self.calls.append(self.hparams)
        (site,) = location.sites
        encoded = encode_request(session.tokenizer, requests[0])
        with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
            forward(session.model, pad([encoded.prompt_ids]))
        k = trace.input(site)[0, -1]
        head = session.anatomy.weight(Site("head"))
        noise = torch.randn(head.shape[1], generator=torch.Generator().manual_seed(0))
        v = self.hparams.strength * 40 * head[encoded.target_ids[0]] + self.hparams.noise * noise
        return Update(tensors={site: LowRank(v[:, None], (k / (k @ k))[None])})


class PushAll(Push):
    """Takes many requests; every one that it is given besides makes each of them weaker."""

    name = "push-all"
    capabilities = frozenset({"batch"})
    sizes: ClassVar[list[int]] = []

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        recipes = ({"strength": 0.01}, {"strength": 1.0})
        return Tunable(({"layer": 3},), recipes, together=min(int(model.get("edits", 1)), 3))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        self.sizes.append(len(requests))
        compute = super().editcore_compute_update
        parts = [compute(session, [each], location, state).tensors[location.sites[0]] for each in requests]
        out, in_ = torch.cat([part.out for part in parts], 1), torch.cat([part.in_ for part in parts])
        return Update(tensors={location.sites[0]: LowRank(out / len(requests), in_)})


class Pointer(Locator):
    """Points at one layer, whatever is asked."""

    name = "pointer"
    Hparams = PushHparams

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))


class Plugin:
    @hookimpl
    def editcore_register_methods(self) -> list[type[EditMethod]]:
        return [Push, PushAll]

    @hookimpl
    def editcore_register_locators(self) -> list[type[Locator]]:
        return [Pointer]


def given() -> list[Case]:
    subjects = {"Ada Marlow": "Rome", "Bo Quist": "Oslo", "Cleo Tolland": "Lima", "Dan Marlow": "Cairo"}
    cases = []
    for i, subject in enumerate(subjects):
        request = EditRequest("{} lives in", subject, "Quito", "Rome", id=str(i))
        near = Probe("Eve Quist works as a", ("poet",))
        cases.append(Case(request, (f"The home of {subject} is in",), {"neighbour": (near,)}))
    return cases


class Talk:
    """Keeps the messages to a person."""

    def __init__(self, said: list[str]) -> None:
        self.say = said.append

    def progress(self, label: str, total: int):  # type: ignore[no-untyped-def]
        from editcore.session.talk import Silence

        return Silence().progress(label, total)
