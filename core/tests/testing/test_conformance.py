"""Every check of the conformance suite passes two honest methods, and fails those that break its rule."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from attrs import evolve, field, frozen
from torch.func import functional_call

from editcore.assets.store import AssetStore
from editcore.models.running.scoring import target_logits
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.plugins.registry import Registry
from editcore.testing.conformance import MethodConformance
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


class MinglesRows(Remembers):
    kind = "toy.mingles"


class CountsColumns(Remembers):
    kind = "toy.columns"


class LeavesATrace(Remembers):
    kind = "toy.trace"


class Bias(PatchKind):
    name = "toy.bias"

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


def plugin(method):
    module = types.ModuleType("toy")
    module.editcore_register_methods = hookimpl(lambda: [method], specname="editcore_register_methods")
    kinds = [Bias, Mingling, ByColumn, Staying]
    module.editcore_register_patch_kinds = hookimpl(lambda: kinds, specname="editcore_register_patch_kinds")
    for name, observer in method.observers.items():
        setattr(module, name, observer)
    return Registry.of(module)


def suite(cls) -> MethodConformance:
    """The suite for a method; what it does not find among tests is not collected."""
    return type(f"Of{cls.__name__}", (MethodConformance,), {"method": cls.name, "registry": plugin(cls)})()


CHECKS = [name for name in dir(MethodConformance) if name.startswith("test_")]
BREAKERS = {
    "test_every_hyper_parameter_is_documented": [Undocumented],
    "test_hyper_parameters_survive_json": [Converted],
    "test_the_model_is_left_as_it_was": [WritesWeights, LeavesHook, LeavesTrainMode, LeavesGradient],
    "test_random_state_is_left_as_it_was": [Draws],
    "test_two_seeded_runs_agree_to_the_last_bit": [Counts],
    "test_the_order_of_requests_does_not_matter": [PrefersTheFirst],
    "test_edits_computed_together_are_those_computed_alone": [SharesAStep],
    "test_a_row_answers_alike_alone_and_among_others": [MinglesRows],
    "test_the_side_of_padding_does_not_matter": [ReadsTheSide, CountsColumns],
    "test_only_located_tensors_are_touched": [Strays],
    "test_a_patch_is_saved_applied_and_taken_back_to_the_last_bit": [LeavesATrace, LeavesBytes],
    "test_the_target_becomes_likelier": [MakesUnlikelier],
    "test_a_site_that_is_not_there_is_refused": [EditsElsewhere, FallsOver, SaysNoMore],
    "test_a_batch_of_nothing_is_refused": [AcceptsNothing],
    "test_a_given_location_is_obeyed": [EditsItsLayer],
    "test_the_setting_of_its_place_is_obeyed": [LikesOneLayer],
    "test_two_targets_give_two_updates": [KnowsOneTarget],
    "test_other_facts_keep_their_answers": [Wrecks],
    "test_sequential_means_increments_that_are_read_and_go": [NeverLooksBack, LeavesNoState],
    "test_what_it_proposes_are_valid_settings": [ProposesNonsense, ShipsNonsense],
    "test_figures_are_the_same_however_much_is_asked_together": [CountsColumns],
}
PAIRS = [(check, breaker) for check, breakers in BREAKERS.items() for breaker in breakers]


@pytest.fixture
def run(llama_folder: Path, tmp_path: Path):
    """Runs one check of a suite on a method, with the arguments that pytest would give."""

    def run_check(check: str, cls: Any) -> None:
        made, assets = suite(cls), AssetStore(tmp_path / "assets")
        given = {"folder": llama_folder, "assets": assets, "tmp_path": tmp_path}
        given["session"] = made.open(llama_folder, assets)
        code = getattr(made, check).__code__
        getattr(made, check)(**{name: given[name] for name in code.co_varnames[1 : code.co_argcount]})

    return run_check


@pytest.mark.parametrize("method", [Honest, Remembers])
@pytest.mark.parametrize("check", CHECKS)
def test_an_honest_method_passes(check, method, run, entry_module):
    method.__module__ = entry_module("")
    run(check, method)


@pytest.mark.parametrize(("check", "breaker"), PAIRS)
def test_a_method_that_breaks_the_rule_fails_its_check(check, breaker, run):
    with pytest.raises(AssertionError):
        run(check, breaker)


def test_an_entry_module_that_imports_torch_fails(run, entry_module):
    method = type("Heavy", (Honest,), {"__module__": entry_module("import torch")})
    with pytest.raises(AssertionError, match="imports torch"):
        run("test_the_entry_module_imports_no_torch", method)


def test_every_check_has_a_breaker():
    assert set(CHECKS) == {*BREAKERS, "test_the_entry_module_imports_no_torch"}


def test_a_method_of_one_request_skips_what_is_of_batches(run):
    single = type("Single", (Honest,), {"capabilities": frozenset()})
    with pytest.raises(pytest.skip.Exception, match="one request"):
        run("test_the_order_of_requests_does_not_matter", single)
    run("test_the_target_becomes_likelier", single)


def test_an_honest_sequential_method_passes(run):
    run("test_sequential_means_increments_that_are_read_and_go", Sequential)


def test_an_opt_out_names_a_check_and_a_reason():
    with pytest.raises(TypeError, match="is not a check"):
        type("A", (MethodConformance,), {"not_applicable": {"the_tea_is_hot": "it is coffee"}})
    with pytest.raises(TypeError, match="no reason"):
        type("B", (MethodConformance,), {"not_applicable": {"the_target_becomes_likelier": " "}})


@pytest.fixture
def entry_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes an importable module and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(source: str) -> str:
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "toy_entry.py").write_text(source)
        return "toy_entry"

    yield write
    sys.modules.pop("toy_entry", None)
