"""Methods: two honest ones, and those that break one rule each."""

from typing import Any, ClassVar

import torch
from attrs import evolve, field, frozen
from torch.func import functional_call

from editcore.models.running.scoring import target_logits
from editcore.patches.checkpoint.folder import Checkpoint
from editcore_hooks import (
    Dense,
    EditMethod,
    Location,
    PatchKind,
    Payload,
    Site,
    Tunable,
    Update,
    UsageError,
    hookimpl,
    hparam,
)


class Scored(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Any) -> Any:
        return target_logits(self.model, items)


@frozen
class StepHparams:
    layer: int = hparam(1, help="block whose down projection is moved")
    size: float = hparam(0.5, help="norm of the step")


@hookimpl(wrapper=True)
def _stamp(target, patch):
    applied = yield
    if isinstance(target, Checkpoint):
        with (target.folder / "config.json").open("a") as file:
            file.write("\n")
    return applied


class Honest(EditMethod):
    """One step of a given length against the gradient of the targets' NLL."""

    name = "honest"
    summary = "one step against the gradient"
    capabilities = frozenset({"batch"})
    Hparams: Any = StepHparams
    observers: ClassVar = {}

    @hookimpl
    def editcore_locate(self, session, requests, state):
        return Location((Site("mlp_out", self.hparams.layer),))

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state):
        return self.update(session, requests, location)

    def compute_each(self, session, requests, location, state):
        return [self.update(session, [request], location) for request in requests]

    def update(self, session, requests, location):
        if not requests:
            raise UsageError("there is no request", hint="give one")
        (site,) = location.sites
        return Update({site: Dense(self.step(session, requests, site))})

    def step(self, session, requests, site):
        name, parameter, transposed = session.anatomy.parameter(site)
        leaf = parameter.detach().clone().requires_grad_()
        rows = [session.encode(request) for request in requests]
        items = [(row.prompt_ids, row.target_ids) for row in rows]
        with torch.enable_grad():
            found = functional_call(Scored(session.model), {f"model.{name}": leaf}, (items,))
            loss = torch.nn.functional.cross_entropy(found.logits, found.labels)
            (gradient,) = torch.autograd.grad(loss, leaf)
        step = -self.hparams.size * gradient / gradient.norm()
        return step.T if transposed else step


@frozen
class Wordless:
    layer: int = hparam(1, help=" ")
    size: float = hparam(0.5, help="norm of the step")


@frozen
class Forgetful:
    layer: int = hparam(1, help="block")
    size: float = field(default=0.5, converter=lambda size: size / 2, metadata={"help": "norm"})


class Undocumented(Honest):
    Hparams = Wordless


class Converted(Honest):
    Hparams = Forgetful


class Unsummed(Honest):
    summary = ""


class Misdeclared(Honest):
    capabilities = frozenset({"batch", "sequental"})


class TakesTheStored(Honest):
    """Changes the output projection of attention, whose square weight looks alike either way round."""

    @hookimpl
    def editcore_locate(self, session, requests, state):
        return Location((Site("attn_out", self.hparams.layer),))

    def step(self, session, requests, site):
        step = super().step(session, requests, site)
        return step.T if session.anatomy.parameter(site)[2] else step


class WantsSinglePrecision(Honest):
    def step(self, session, requests, site):
        session.anatomy.weight(site).numpy()  # NumPy has no bfloat16
        return super().step(session, requests, site)


class WritesWeights(Honest):
    def update(self, session, requests, location):
        update = super().update(session, requests, location)
        session.anatomy.weight(location.sites[0])[0, 0] += 1e-7
        return update


class LeavesHook(Honest):
    def update(self, session, requests, location):
        session.anatomy.module(location.sites[0]).register_forward_hook(lambda *_: None)
        return super().update(session, requests, location)


class LeavesTrainMode(Honest):
    def update(self, session, requests, location):
        update = super().update(session, requests, location)
        session.anatomy.module(location.sites[0]).train()
        return update


class LeavesGradient(Honest):
    def update(self, session, requests, location):
        session.anatomy.parameter(location.sites[0])[1].requires_grad_(True)
        return super().update(session, requests, location)


class Draws(Honest):
    def update(self, session, requests, location):
        torch.rand(1)
        return super().update(session, requests, location)


class Counts(Honest):
    runs = 0

    def step(self, session, requests, site):
        Counts.runs += 1
        return super().step(session, requests, site) * (1 + Counts.runs / 100)


class PrefersTheFirst(Honest):
    def step(self, session, requests, site):
        return super().step(session, requests, site) + 0.5 * super().step(session, requests[:1], site)


class SharesAStep(Honest):
    """Takes what is computed together for one edit."""

    def compute_each(self, session, requests, location, state):
        return [self.update(session, requests, location)] * len(requests)


class ReadsTheSide(Honest):
    def step(self, session, requests, site):
        return super().step(session, requests, site) * (1 if session.tokenizer.padding_side == "left" else 2)


class Strays(Honest):
    def update(self, session, requests, location):
        update = super().update(session, requests, location)
        (site,) = location.sites
        other = evolve(site, layer=0 if site.layer else 1)
        return Update({**update.tensors, other: Dense(self.step(session, requests, other))})


class MakesUnlikelier(Honest):
    def step(self, session, requests, site):
        return -super().step(session, requests, site)


class EditsElsewhere(Honest):
    def update(self, session, requests, location):
        (site,) = location.sites
        if site.layer >= session.anatomy.n_layers:
            location = Location((evolve(site, layer=0),))
        return super().update(session, requests, location)


class FallsOver(Honest):
    def update(self, session, requests, location):
        if location.sites[0].layer >= session.anatomy.n_layers:
            raise KeyError("layer")
        return super().update(session, requests, location)


class SaysNoMore(Honest):
    def update(self, session, requests, location):
        if location.sites[0].layer >= session.anatomy.n_layers:
            raise UsageError("no")
        return super().update(session, requests, location)


class AcceptsNothing(Honest):
    def update(self, session, requests, location):
        return Update() if not requests else super().update(session, requests, location)


class EditsItsLayer(Honest):
    """Whatever location it is given."""

    def update(self, session, requests, location):
        return super().update(session, requests, Location((Site("mlp_out", self.hparams.layer),)))


class LikesOneLayer(Honest):
    """Whatever `layer` says."""

    @hookimpl
    def editcore_locate(self, session, requests, state):
        return Location((Site("mlp_out", 1),))


class KnowsOneTarget(Honest):
    def step(self, session, requests, site):
        return super().step(session, [evolve(request, target_new="pilot") for request in requests], site)


class Wrecks(Honest):
    def step(self, session, requests, site):
        return super().step(session, requests, site) * 100


class Sequential(Honest):
    """Takes shorter steps the more edits there are; the state is their number."""

    capabilities = frozenset({"batch", "sequential"})

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state):
        (site,) = location.sites
        step = self.step(session, requests, site) / (1 + self.seen(state))
        return Update({site: Dense(step)}, state_increment=self.increment())

    def fold(self, increments):
        return len(increments)

    def seen(self, state):
        return state.value

    def increment(self):
        return {"one": torch.ones(1)}


class NeverLooksBack(Sequential):
    def seen(self, state):
        return 0


class LeavesNoState(Sequential):
    def increment(self):
        return {}


class ProposesNonsense(Honest):
    @classmethod
    def tunable(cls, model):
        return Tunable(({"layer": 1},), ({"stride": 2},))


class ShipsNonsense(Honest):
    @classmethod
    def preset(cls, model):
        return {"layer": "one"} if model["edits"] > 1 else {}


class LeavesBytes(Honest):
    """Its patches come off, but what it wrote into the folder besides does not."""

    observers: ClassVar = {"editcore_apply_patch": _stamp}


class Remembers(Honest):
    """Stores a bias on the tokens of the first target, which `kind` adds to the output of the head."""

    kind = "toy.bias"

    def update(self, session, requests, location):
        if not requests or location.sites[0].layer >= session.anatomy.n_layers:
            raise UsageError("there is nothing to remember", hint="give a request and a layer")
        bias = torch.zeros(session.model.config.vocab_size)
        for request in requests:
            bias[list(session.encode(request).target_ids)] = 5.0
        return Update(payload=Payload(self.kind, {}, {"bias": bias}))


class RemembersTheFirst(Remembers):
    """Only the first request of a batch leaves something."""

    def update(self, session, requests, location):
        return super().update(session, requests[:1], location)


class MinglesRows(Remembers):
    kind = "toy.mingles"


class CountsColumns(Remembers):
    kind = "toy.columns"


class LeavesATrace(Remembers):
    kind = "toy.trace"


class Bias(PatchKind):
    name = "toy.bias"
    summary = "a bias on logits"

    def attach(self, session, patch):
        bias = patch.tensors["payload/bias"]
        head = session.anatomy.module(Site("head"))
        return head.register_forward_hook(lambda module, args, logits: self.added(logits, bias))

    def added(self, logits, bias):
        return logits + bias

    def detach(self, session, handle):
        handle.remove()


class BeforeTheHead(Bias):
    """Changes what the head is given: the head itself sees scored positions alone, not rows."""

    def attach(self, session, patch):
        norm = session.anatomy.module(Site("final_norm"))
        return norm.register_forward_hook(lambda module, args, hidden: self.scaled(hidden))


class Mingling(BeforeTheHead):
    name = "toy.mingles"

    def scaled(self, hidden):
        return hidden * (1 + 0.1 * len(hidden))


class ByColumn(BeforeTheHead):
    name = "toy.columns"

    def scaled(self, hidden):
        return torch.cat([hidden[:, :-1], hidden[:, -1:] * 1.5], 1)


class Staying(Bias):
    name = "toy.trace"

    def detach(self, session, handle):
        pass
