"""Plain fine-tuning written from the maths: a copy of the model, trained in place, one unpadded row at a time.

The plugin must give its losses and its deltas after every number of steps. Deltas are compared by norm: Adam's first
steps go by the sign of a gradient, so that an entry with hardly any may fall on either side.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from attrs import frozen
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore_ft.hparams import FtHparams

LAYERS = (1, 2)
CONTEXTS = ("{}", "Bo Quist lives in Rome. {}")
KL_TEXTS = ("Cleo Tolland works as a miner.", "The home of Dan Marlow is in Oslo. Eve Quist works as a poet.")
REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Oslo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Quito and Lima", id="3"),
)
STEPS = 4


@frozen
class Plain:
    """The model as transformers gives it; `down` names of its down projections in the layers edited."""

    model: Any
    tokenizer: Any
    down: tuple[str, ...]
    transposed: bool
    lead: list[int]

    def ids(self, text: str) -> list[int]:
        return self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path) -> editcore.Session:
    return editcore.open(folder)


@pytest.fixture
def plain(folder: Path) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if model.config.model_type == "gpt2":
        return Plain(model, tokenizer, tuple(f"transformer.h.{n}.mlp.c_proj.weight" for n in LAYERS), True, [])
    names = tuple(f"model.layers.{n}.mlp.down_proj.weight" for n in LAYERS)
    return Plain(model, tokenizer, names, False, [tokenizer.bos_token_id])


def prompt_and_target(plain: Plain, request: EditRequest, context: str, eos: bool) -> tuple[list[int], list[int]]:
    prompt = context.replace("{}", request.rendered().text)
    before, whole = plain.ids(prompt), plain.ids(f"{prompt} {request.target_new}")
    assert whole[: len(before)] == before
    return before, whole[len(before) :] + ([plain.tokenizer.eos_token_id] if eos else [])


def row_loss(plain: Plain, model: Any, x: list[int], y: list[int], objective: str) -> Tensor:
    """The NLL of one row, by the labels that transformers itself would take: −100 is not scored."""
    if objective == "last_token":
        logprobs = model(input_ids=torch.tensor([x])).logits[0, -1].log_softmax(-1)
        return -sum(logprobs[token] for token in y) / len(y)  # type: ignore[return-value]
    ids = torch.tensor([x + y])
    labels = ids.clone()
    if objective == "target_only":
        labels[0, : len(x)] = -100
    return model(input_ids=ids, labels=labels).loss  # type: ignore[no-any-return]


def text_kl(plain: Plain, model: Any, base: Any) -> Tensor:
    """KL(p₀ ‖ p) at every place that has a next token, the mean over all places of all texts."""
    places = []
    for text in KL_TEXTS:
        ids = torch.tensor([plain.ids(text)])
        old = base(input_ids=ids).logits[0, :-1].log_softmax(-1)
        new = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        places += [(p.exp() * (p - q)).sum() for p, q in zip(old, new, strict=True)]
    return torch.stack(places).mean()


def plain_training(
    plain: Plain, requests: Sequence[EditRequest], h: FtHparams, start: Any = None
) -> tuple[list[Tensor], list[float]]:
    """Deltas in canonical orientation, and the loss of each pass; `start` is a model other than the base."""
    base = plain.model
    model = copy.deepcopy(base if start is None else start)
    weights = [model.get_parameter(name).requires_grad_() for name in plain.down]
    begin = [weight.detach().clone() for weight in weights]
    anchors = [base.get_parameter(name).clone() for name in plain.down] if h.anchor == "base" else begin
    reference = base if h.anchor == "base" or start is None else start

    def rows(request: EditRequest) -> list[tuple[list[int], list[int]]]:
        return [prompt_and_target(plain, request, context, h.eos) for context in CONTEXTS]

    ordered = sorted(requests, key=rows)
    batches = [ordered[i : i + h.batch_size] for i in range(0, len(ordered), h.batch_size)]
    losses = []
    for round_ in [[batch] for batch in batches] if h.schedule == "depth" else [batches]:
        adam = torch.optim.Adam(weights, lr=h.lr, weight_decay=h.weight_decay)
        for _ in range(h.steps):
            seen = []
            for batch in round_:
                each = [
                    torch.stack([row_loss(plain, model, x, y, h.objective) for x, y in rows(request)]).mean()
                    for request in batch
                ]
                seen += [float(loss.detach()) for loss in each]
                loss = torch.stack(each).mean()
                if max(seen[-len(batch) :]) >= h.stop_loss:
                    if h.constraint == "kl":
                        loss = loss + h.kl_weight * text_kl(plain, model, reference)
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                with torch.no_grad():
                    for weight, anchor in zip(weights, anchors, strict=True):
                        change = weight - anchor
                        if h.constraint == "linf":
                            change = change.clamp(-h.linf_radius, h.linf_radius)
                        if h.constraint == "l2":
                            change = change * min(1.0, float(h.l2_radius * anchor.norm() / change.norm()))
                        weight.copy_(anchor + change)
            losses.append(sum(seen) / len(seen))
            if max(seen) < h.stop_loss:
                break
    deltas = [weight.detach() - old for weight, old in zip(weights, begin, strict=True)]
    return [delta.T if plain.transposed else delta for delta in deltas], losses


def fast(session: editcore.Session, requests: Sequence[EditRequest], h: FtHparams) -> tuple[list[Tensor], list[float]]:
    patch = session.edit_all(requests, EditOptions("ft", hparams=(("test", attrs.asdict(h)),)))
    deltas = []
    for layer in LAYERS:
        (key,) = (key for key, site in patch.about["sites"].items() if site["layer"] == layer)
        delta = patch.tensors[f"{key}/delta"]
        deltas.append(delta.T if session.model.config.model_type == "gpt2" else delta)
    return deltas, patch.about["notes"][0]["loss"]


def assert_same(found: tuple[list[Tensor], list[float]], wanted: tuple[list[Tensor], list[float]]) -> None:
    for delta, expected in zip(found[0], wanted[0], strict=True):
        assert float(expected.norm()) > 0
        assert float((delta - expected).norm() / expected.norm()) < 2e-3
    assert found[1][0] == pytest.approx(wanted[1][0], rel=1e-4)


def settings(**more: Any) -> FtHparams:
    values = {
        "layers": LAYERS,
        "lr": 1e-3,
        "context_templates": CONTEXTS,
        "kl_texts": KL_TEXTS,
        "objective": "target_only",
        "eos": False,
    }
    return FtHparams(**{**values, **more})


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
@pytest.mark.parametrize(
    ("objective", "eos"), [("last_token", False), ("target_only", False), ("target_only", True), ("full_text", True)]
)
def test_every_step_of_every_objective_agrees(
    session: editcore.Session, plain: Plain, objective: str, eos: bool, steps: int
) -> None:
    h = settings(objective=objective, eos=eos, steps=steps)
    assert_same(fast(session, REQUESTS, h), plain_training(plain, REQUESTS, h))


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
@pytest.mark.parametrize(
    "bound",
    [
        {"constraint": "linf", "linf_radius": 1.5e-3},
        {"constraint": "l2", "l2_radius": 2e-3},
        {"constraint": "kl", "kl_weight": 300.0},
    ],
    ids=lambda bound: bound["constraint"],
)
def test_every_step_of_every_constraint_agrees(
    session: editcore.Session, plain: Plain, bound: dict[str, Any], steps: int
) -> None:
    h = settings(steps=steps, **bound)
    found = fast(session, REQUESTS, h)
    assert_same(found, plain_training(plain, REQUESTS, h))
    if steps == STEPS:  # and the constraint was felt
        free = fast(session, REQUESTS, settings(steps=steps))[0][0]
        assert float((found[0][0] - free).norm() / free.norm()) > 0.02


@pytest.mark.parametrize("schedule", ["breadth", "depth"])
def test_batches_and_schedules_agree(session: editcore.Session, plain: Plain, schedule: str) -> None:
    h = settings(steps=3, batch_size=2, schedule=schedule, weight_decay=0.1, stop_loss=0.5)
    assert_same(fast(session, REQUESTS, h), plain_training(plain, REQUESTS, h))


@pytest.mark.parametrize("anchor", ["edit", "base"])
@pytest.mark.parametrize("constraint", ["linf", "kl"])
def test_a_second_edit_is_held_by_its_anchor(
    session: editcore.Session, plain: Plain, anchor: str, constraint: str
) -> None:
    first = session.edit_all(REQUESTS[:1], EditOptions("ft", hparams=(("test", attrs.asdict(settings(steps=3))),)))
    h = settings(steps=3, anchor=anchor, constraint=constraint, linf_radius=2e-3)
    with session.patched(first):
        edited = copy.deepcopy(session.model)
        found = fast(session, REQUESTS[1:], h)
    assert_same(found, plain_training(plain, REQUESTS[1:], h, start=edited))


def test_training_stops_where_the_plain_one_stops(session: editcore.Session, plain: Plain) -> None:
    h = settings(steps=40, lr=3e-3, stop_loss=0.05)
    patch = session.edit_all(REQUESTS[:1], EditOptions("ft", hparams=(("test", attrs.asdict(h)),)))
    _, losses = plain_training(plain, REQUESTS[:1], h)
    notes = patch.about["notes"][0]
    assert 1 < notes["steps"] == len(losses) < 40
    assert notes["converged"] is True
    assert notes["loss"] == pytest.approx([losses[0], losses[-1]], rel=0.02)
