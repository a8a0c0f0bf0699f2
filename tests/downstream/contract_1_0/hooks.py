"""A plugin with one of every kind, written against contract 1.0."""

import os
from typing import ClassVar

from attrs import frozen

from editcore.authoring.evaluation import DialogueMetric, judged, score
from editcore_hooks import (
    Architecture,
    Case,
    Dataset,
    Dense,
    EditMethod,
    EditRequest,
    Location,
    Locator,
    LowRank,
    PatchKind,
    Payload,
    RefusedFileError,
    Site,
    Transform,
    Tunable,
    Update,
    UsageError,
    hookimpl,
    hparam,
)

EDITCORE_API = ">=1.0,<2"


@frozen
class StepHparams:
    layer: int = hparam(1, help="block", symbol="l", source="eq. 1")
    size: float = hparam(0.1, help="length")


class Step(EditMethod):
    name = "step-1.0"
    summary = "a constant along the output"
    paper = "none"
    Hparams = StepHparams
    capabilities = frozenset({"batch", "sequential"})

    @classmethod
    def preset(cls, model):
        return {"size": 0.2} if model["n_layers"] == 4 else {}

    @classmethod
    def tunable(cls, model):
        return Tunable(({"layer": 1},), ({"size": 0.1},))

    def locate(self, session, requests, state):
        return Location((Site("mlp_out", self.hparams.layer),), token="subject_last")

    def compute_update(self, session, requests, location, state):
        import torch

        from editcore.authoring.models import Tap, Trace, target_logits

        if not requests:
            raise UsageError("no request", hint="give one")
        (site,) = location.sites
        rows = [session.encode(request) for request in requests]
        with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}) as trace:
            target_logits(session.model, [(row.prompt_ids, row.target_ids) for row in rows])
        key = trace.input(site)[0, rows[0].subject[-1]].float()
        out = torch.ones(session.anatomy.weight(site).shape[0], 1) * self.hparams.size / (1 + len(state.value))
        return Update({site: LowRank(out, key[None])}, state_increment={"one": torch.ones(1)}, notes={"n": len(rows)})

    def fold(self, increments):
        return list(increments)


class Second(Locator):
    name = "second-1.0"
    summary = "the third block"

    @hookimpl
    def editcore_locate(self, session):
        return Location((Site("mlp_out", 2),))


class Whole(Transform):
    name = "whole-1.0"
    summary = "the same update as a whole matrix"

    def transform(self, session, update):
        return Update({site: Dense(one.out @ one.in_) for site, one in update.tensors.items()}, notes=update.notes)


class First(DialogueMetric):
    name = "first-1.0@1"
    summary = "whether the first token is the likeliest"

    def questions(self, case):
        return [score(case, case.request.rendered().text, case.request.target_new)]

    def judgement(self, case, answers):
        request = case.request
        return [
            judged(case, "edit", request.rendered().text, request.target_new, answers, lambda one: (one.hits[0], {}))
        ]


class Note(EditMethod):
    name = "note-1.0"
    summary = "a payload"

    def locate(self, session, requests, state):
        return Location(())

    def compute_update(self, session, requests, location, state):
        import torch

        return Update(payload=Payload("note-1.0", {"words": 1}, {"bias": torch.full((1,), 0.5)}))


class Notes(PatchKind):
    name = "note-1.0"
    summary = "adds a number to every logit"

    def attach(self, session, patch):
        bias = patch.tensors["payload/bias"]
        return session.anatomy.module(Site("head")).register_forward_hook(lambda module, args, out: out + bias)

    def detach(self, session, handle):
        handle.remove()

    def describe(self, patch):
        return dict(patch.core["payload"]["data"])


class Lines(Dataset):
    name = "lines-1.0"
    summary = "tab-separated lines"
    files = "*.tsv"
    keys = ("prompt",)

    @classmethod
    def sample(cls):
        return "{} works as a\tAda Marlow\tpilot\n"

    def read(self, path):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            parts = line.split("\t")
            if len(parts) != 3:
                raise RefusedFileError(f"line {number} has no prompt, subject and target", hint="write three columns")
            yield Case(EditRequest(*parts, id=str(number)))


class Family(Architecture):
    name = "family_1_0"
    summary = "Llama under another name"
    blocks = "model.layers"
    parts: ClassVar = {"mlp_in": "mlp.up_proj", "mlp_out": "mlp.down_proj"}
    prefixes = ("model.",)


@hookimpl
def editcore_register_methods():
    return [Step, Note]


@hookimpl
def editcore_register_locators():
    return [Second]


@hookimpl
def editcore_register_transforms():
    return [Whole]


@hookimpl
def editcore_register_metrics():
    return [First]


@hookimpl
def editcore_register_patch_kinds():
    return [Notes]


@hookimpl
def editcore_register_datasets():
    return [Lines]


@hookimpl
def editcore_register_architectures():
    return [Family]


@hookimpl
def editcore_register_commands(cli):
    cli.add("step-1-0", "contract_1_0.cli:command", "A command of an old plugin.")


@hookimpl
def editcore_observing():
    return "EDITCORE_TEST_OBSERVED" in os.environ


@hookimpl(wrapper=True)
def editcore_compute_update(requests):
    result = yield
    os.environ["EDITCORE_TEST_OBSERVED"] = str(len(requests))
    return result
