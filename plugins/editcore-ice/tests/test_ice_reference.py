"""Plain ICE written from the maths: a copy of the model, trained in place, one unpadded row at a time, whole forwards.

The teacher reads its row again for each token that it draws and once more for its distributions, and nothing is kept
from one step to the next. The plugin must give its losses and its deltas after every number of steps.
"""

import copy
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import attrs
import pytest
import torch
from attrs import frozen
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore_ice.hparams import IceHparams

LAYERS = (1, 2)
TEMPLATES = ("{}", "It is well known by now. {}")
REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Cleo Tolland", "Quito and Lima", id="2", contexts=("Cleo went to Quito and Lima.",)),
)


@frozen
class Plain:
    model: Any
    tokenizer: Any
    down: tuple[str, ...]
    transposed: bool
    lead: list[int]

    def ids(self, text: str) -> list[int]:
        return self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest) -> editcore.Session:
    return editcore.open(request.getfixturevalue(f"{request.param}_folder"))


@pytest.fixture(scope="module")
def plain(session: editcore.Session) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = (
        AutoModelForCausalLM.from_pretrained(session.checkpoint.folder, dtype=torch.float32)
        .eval()
        .requires_grad_(False)
    )
    tokenizer = AutoTokenizer.from_pretrained(session.checkpoint.folder)
    if model.config.model_type == "gpt2":
        return Plain(model, tokenizer, tuple(f"transformer.h.{n}.mlp.c_proj.weight" for n in LAYERS), True, [])
    names = tuple(f"model.layers.{n}.mlp.down_proj.weight" for n in LAYERS)
    return Plain(model, tokenizer, names, False, [tokenizer.bos_token_id])


def logprobs(model: Any, ids: Sequence[int], places: int) -> Tensor:
    """log p(· | ids) at the last `places` positions, (places, V)."""
    return model(input_ids=torch.tensor([list(ids)])).logits[0, -places:].log_softmax(-1)  # type: ignore[no-any-return]


@frozen(eq=False)
class Request:
    """q, x* and its end, and [c, q] of each context; the generator of its samples."""

    q: list[int]
    x: list[int]
    end: list[int]
    taught: list[list[int]]
    generator: torch.Generator
    drawn: dict[int, list[int]] = attrs.field(factory=dict)


def request_of(plain: Plain, request: EditRequest, h: IceHparams) -> Request:
    prompt = request.rendered().text
    q, whole = plain.ids(prompt), plain.ids(f"{prompt} {request.target_new}")
    x = whole[len(q) :]
    contexts = [template.replace("{}", f"{prompt} {request.target_new}.") for template in h.context_templates]
    taught = [plain.ids(f"{context} {prompt}") for context in request.contexts or contexts]
    seed = crc32(repr((0, tuple(q), tuple(x))).encode())
    end = [plain.tokenizer.eos_token_id] if h.eos else []
    return Request(q, x, end, taught if h.in_context else [q], torch.Generator().manual_seed(seed))


def draw(plain: Plain, teacher: Any, rows: list[list[int]], one: Request, h: IceHparams) -> list[list[int]]:
    """A sample after each row, all tokens of one place before those of the next."""
    samples: list[list[int]] = [[] for _ in rows]
    for place in range(h.sample_length):
        shares, ids = [], []
        for row, sample in zip(rows, samples, strict=True):
            logits = teacher(input_ids=torch.tensor([row + sample])).logits[0, -1].clone()
            if place == 0 and one.end and h.sample_after == "target":
                logits[plain.tokenizer.eos_token_id] = -torch.inf
            values, indices = logits.topk(min(h.top_k or len(logits), len(logits)))
            shares.append((values / h.temperature).softmax(0))
            ids.append(indices)
        picked = torch.multinomial(torch.stack(shares), 1, generator=one.generator)
        for sample, index, number in zip(samples, ids, picked, strict=True):
            sample.append(int(index[number]))
    return samples


def losses(plain: Plain, model: Any, start: Any, one: Request, h: IceHparams, step: int) -> tuple[Tensor, Tensor]:
    """L_FT and L_ICE of one request, and the loss of the stated target in L_FT where it is asked for."""
    full = one.x + one.end
    at = torch.tensor(full)[:, None]
    fact = -logprobs(model, (one.q + full)[:-1], len(full)).gather(1, at).sum()
    given = one.x if h.sample_after == "target" else []
    rows = [taught + given for taught in one.taught for _ in range(h.sample_count)]
    teacher = start if h.target == "static" else model
    with torch.no_grad():
        if step % h.update_interval == 0:
            one.drawn.update(enumerate(draw(plain, teacher, rows, one, h)))
        known = [logprobs(teacher, (row + one.drawn[i])[:-1], h.sample_length) for i, row in enumerate(rows)]
    each = []
    for i, p in enumerate(known):
        q = logprobs(model, (one.q + given + one.drawn[i])[:-1], h.sample_length)
        sampled = torch.tensor(one.drawn[i])
        values = (p.exp() * (p - q)).sum(1) if h.form == "divergence" else -q.gather(1, sampled[:, None])[:, 0]
        first = 1 if given and one.end else 0
        ended = [place for place, token in enumerate(one.drawn[i]) if token == plain.tokenizer.eos_token_id]
        last = ended[0] if ended else h.sample_length - 1
        each.append(values[first : last + 1].sum())
    if h.context_nll:
        stated = [-logprobs(model, (row + full)[:-1], len(full)).gather(1, at).sum() for row in one.taught]
        fact = fact + torch.stack(stated).mean()
    return fact, torch.stack(each).mean()


def plain_training(plain: Plain, h: IceHparams) -> tuple[list[Tensor], list[tuple[float, float]]]:
    model = copy.deepcopy(plain.model)
    weights = [model.get_parameter(name).requires_grad_() for name in plain.down]
    begin = [weight.detach().clone() for weight in weights]
    requests = [request_of(plain, request, h) for request in REQUESTS]
    adam = torch.optim.Adam(weights, lr=h.lr)
    curve = []
    for step in range(h.steps):
        parts = [losses(plain, model, plain.model, one, h, step) for one in requests]
        fact, ice = (torch.stack(each).mean() for each in zip(*parts, strict=True))
        curve.append((float(fact.detach()), float(ice.detach())))
        adam.zero_grad()
        (fact + h.ice_weight * ice).backward()
        for weight in weights:
            if h.grad_clip is not None:
                assert weight.grad is not None
                weight.grad.clamp_(-h.grad_clip, h.grad_clip)
        adam.step()
        with torch.no_grad():
            for weight, old in zip(weights, begin, strict=True):
                weight.copy_(old + (weight - old).clamp(-h.linf_radius, h.linf_radius))
    deltas = [weight.detach() - old for weight, old in zip(weights, begin, strict=True)]
    return [delta.T if plain.transposed else delta for delta in deltas], curve


def fast(session: editcore.Session, h: IceHparams) -> tuple[list[Tensor], list[tuple[float, float]]]:
    patch = session.edit_all(REQUESTS, EditOptions("ice", hparams=(("test", attrs.asdict(h)),)))
    deltas = []
    for layer in LAYERS:
        (key,) = (key for key, site in patch.about["sites"].items() if site["layer"] == layer)
        delta = patch.tensors[f"{key}/delta"]
        deltas.append(delta.T if session.model.config.model_type == "gpt2" else delta)
    curves = patch.about["notes"][0]["curves"]
    return deltas, list(zip(curves["target"], curves["ice"], strict=True))


SETTINGS: dict[str, dict[str, Any]] = {
    "as published": {},
    "samples": {"form": "samples", "temperature": 1.0, "sample_length": 4},
    "static": {"target": "static", "sample_count": 2},
    "static, kept": {"target": "static", "update_interval": 2, "eos": False},
    "kept": {"update_interval": 2, "top_k": None, "temperature": 2.0},
    "after the prompt": {"sample_after": "prompt", "temperature": 0.5},
    "no context": {"in_context": False, "form": "samples"},
    "clipped": {"grad_clip": 1e-3, "ice_weight": 3.0},
    "no teacher": {"ice_weight": 0.0},
}


CASES = [pytest.param("llama", values, id=f"llama, {name}") for name, values in SETTINGS.items()]


@pytest.mark.parametrize(
    ("session", "values"), [*CASES, pytest.param("gpt2", {}, id="gpt2, as published")], indirect=["session"]
)
def test_the_method_takes_the_steps_of_the_plain_one(
    session: editcore.Session, plain: Plain, values: dict[str, Any]
) -> None:
    h = IceHparams(**{"layers": LAYERS, "steps": 3, "linf_radius": 1.2e-3, "context_templates": TEMPLATES, **values})
    deltas, curve = fast(session, h)
    wanted, losses = plain_training(plain, h)
    for delta, expected in zip(deltas, wanted, strict=True):
        assert float(expected.norm()) > 0
        assert float((delta - expected).norm() / expected.norm()) < 1e-2  # Adam makes a whole step of a rounding
    parts = 2 if h.ice_weight else 1  # no teacher is asked where its word has no weight
    found, expected = (torch.tensor(each)[:, :parts] for each in (curve, losses))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("session", ["llama"], indirect=True)
def test_the_stated_target_is_learnt_too_where_asked_for(session: editcore.Session, plain: Plain) -> None:
    """Its loss is no part of the curve, which shows the two terms of the paper."""
    h = IceHparams(layers=LAYERS, steps=3, context_templates=TEMPLATES, context_nll=True)
    for delta, expected in zip(fast(session, h)[0], plain_training(plain, h)[0], strict=True):
        assert float((delta - expected).norm() / expected.norm()) < 2e-3
