"""LoRA and AdaLoRA written from the maths: ΔW is put into the weights of the model, one unpadded row at a time.

Only the random values at the start are those of the plugin. AdaLoRA's importance and budget are written out here
(Zhang et al. 2023, equations 7 to 12 and section 3.3) and compared with what the allocator of peft left.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore_hooks import Site
from editcore_lora.adapters import NAME, adapted
from editcore_lora.hparams import AdaLoraHparams, LoraHparams

LAYERS = (1, 2)
SITES = tuple(Site("mlp_out", layer) for layer in LAYERS)
REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Oslo", id="2"),
)
BETA = 0.85


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path) -> editcore.Session:
    return editcore.open(folder)


class Plain:
    """The model as transformers gives it, with `added` (d, f) by layer on its down projections."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.gpt2 = self.model.config.model_type == "gpt2"
        name = "transformer.h.{}.mlp.c_proj.weight" if self.gpt2 else "model.layers.{}.mlp.down_proj.weight"
        self.names = [name.format(layer) for layer in LAYERS]
        self.lead = [] if self.gpt2 else [self.tokenizer.bos_token_id]

    def loss(self, added: Sequence[Tensor], requests: Sequence[EditRequest]) -> Tensor:
        weights = {
            name: self.model.get_parameter(name) + (change.T if self.gpt2 else change)
            for name, change in zip(self.names, added, strict=True)
        }
        losses = []
        for request in requests:
            texts = request.rendered().text, f"{request.rendered().text} {request.target_new}"
            x, whole = (self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
            labels = torch.tensor([[-100] * len(x) + whole[len(x) :]])
            rows = {"input_ids": torch.tensor([whole]), "labels": labels}
            losses.append(functional_call(self.model, weights, (), rows).loss)
        return torch.stack(losses).mean()

    def put(self, deltas: Sequence[Tensor]) -> "Plain":
        """With `deltas` in the weights for good."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        for name, delta in zip(self.names, deltas, strict=True):
            other.model.get_parameter(name).data += delta.T if self.gpt2 else delta
        return other


def settings(kind: type[LoraHparams], **more: Any) -> LoraHparams:
    return kind(**{"layers": LAYERS, "rank": 3, "alpha": 6.0, "lr": 2e-3, "eos": False, "stop_loss": 0.0, **more})


def start(session: editcore.Session, h: LoraHparams, updates: int) -> list[dict[str, Tensor]]:
    """A, B and λ of each site as the plugin begins."""
    with adapted(session, SITES, h, updates) as adapters:
        if isinstance(h, AdaLoraHparams):
            return [
                {name: getattr(layer, f"lora_{name}")[NAME].detach().clone() for name in "ABE"}
                for layer in adapters.layers.values()
            ]
        return [
            {name: getattr(layer, f"lora_{name}")[NAME].weight.detach().clone() for name in "AB"}
            for layer in adapters.layers.values()
        ]


def deltas(session: editcore.Session, patch: Patch) -> list[Tensor]:
    """Δ (d, f) of each layer."""
    found = []
    for layer in LAYERS:
        (key,) = (key for key, site in patch.about["sites"].items() if site["layer"] == layer)
        left, right = patch.tensors[f"{key}/left"], patch.tensors[f"{key}/right"]
        found.append((left @ right).T if session.model.config.model_type == "gpt2" else left @ right)
    return found


def edited(session: editcore.Session, method: str, requests: Sequence[EditRequest], h: LoraHparams) -> Patch:
    return session.edit_all(requests, EditOptions(method, hparams=(("test", attrs.asdict(h)),)), measured=False)


def plain_lora(plain: Plain, begun: list[dict[str, Tensor]], h: LoraHparams, requests: Any) -> list[Tensor]:
    leaves = [{name: value.clone().requires_grad_() for name, value in site.items()} for site in begun]
    every = [value for site in leaves for value in site.values()]

    def added() -> list[Tensor]:
        return [h.alpha / h.rank * site["B"] @ site["A"] for site in leaves]

    adam = torch.optim.Adam(every, lr=h.lr)
    for _ in range(h.steps):
        adam.zero_grad()
        plain.loss(added(), requests).backward()
        adam.step()
    return [each.detach() for each in added()]


def plain_adalora(plain: Plain, begun: list[dict[str, Tensor]], h: AdaLoraHparams, requests: Any) -> list[Tensor]:
    leaves = [{name: value.clone().requires_grad_() for name, value in site.items()} for site in begun]
    every = [value for site in leaves for value in site.values()]
    smooth, doubt = [torch.zeros_like(each) for each in every], [torch.zeros_like(each) for each in every]
    first, last = len(leaves) * h.initial_rank, len(leaves) * h.rank
    warmup, final = int(h.warmup * h.steps), int(h.final * h.steps)
    left = torch.ones(first, dtype=torch.bool)

    def added() -> list[Tensor]:
        scale = h.alpha / (h.initial_rank + 1e-5)
        return [scale * site["B"] @ (site["E"] * site["A"]) for site in leaves]

    adam = torch.optim.Adam(every, lr=h.lr)
    for t in range(1, h.steps + 1):
        adam.zero_grad()
        grams = [gram for site in leaves for gram in (site["B"].T @ site["B"], site["A"] @ site["A"].T)]
        apart = sum((gram - torch.eye(h.initial_rank)).norm() for gram in grams) / len(grams)
        (plain.loss(added(), requests) + h.orthogonality * apart).backward()
        adam.step()
        if t < h.steps - final:
            for i, each in enumerate(every):
                now = (each.detach() * each.grad).abs()  # type: ignore[operator]
                smooth[i] = BETA * smooth[i] + (1 - BETA) * now
                doubt[i] = BETA * doubt[i] + (1 - BETA) * (now - smooth[i]).abs()
        if warmup < t <= h.steps - final:
            part = 1 - (t - warmup) / (h.steps - final - warmup)
            budget = last if t == h.steps - final else int((first - last) * part**3 + last)
            scores = [u * s for u, s in zip(smooth, doubt, strict=True)]
            triplets = torch.cat(
                [
                    a.mean(1) + b.mean(0) + e[:, 0]
                    for a, b, e in zip(scores[::3], scores[1::3], scores[2::3], strict=True)
                ]
            )
            left = torch.zeros(first, dtype=torch.bool)
            left[triplets.topk(budget).indices] = True
        with torch.no_grad():
            if t > warmup:
                for site, kept in zip(leaves, left.split(h.initial_rank), strict=True):
                    site["E"][~kept] = 0
    return [each.detach() for each in added()]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert float(other.norm()) > 0
        assert float((one - other).norm() / other.norm()) < 0.01


def test_lora_is_that_of_the_plain_loop(session: editcore.Session, folder: Path) -> None:
    h = settings(LoraHparams, steps=4)
    plain, begun = Plain(folder), start(session, h, 4)
    assert_same(deltas(session, edited(session, "lora", REQUESTS, h)), plain_lora(plain, begun, h, REQUESTS))


def test_a_second_edit_gets_a_fresh_adapter_on_the_edited_model(session: editcore.Session, folder: Path) -> None:
    h = settings(LoraHparams, steps=3)
    first = edited(session, "lora", REQUESTS[:1], h)
    with session.patched(first):
        second = edited(session, "lora", REQUESTS[1:], h)
    plain, begun = Plain(folder), start(session, h, 3)
    wanted = plain_lora(plain.put(deltas(session, first)), begun, h, REQUESTS[1:])
    assert_same(deltas(session, second), wanted)


def test_adalora_prunes_as_the_maths_says(session: editcore.Session, folder: Path) -> None:
    h = settings(AdaLoraHparams, rank=2, initial_rank=4, steps=10, warmup=0.2, final=0.3, lr=5e-3)
    assert isinstance(h, AdaLoraHparams)
    plain, begun = Plain(folder), start(session, h, 10)
    patch = edited(session, "adalora", REQUESTS, h)
    assert_same(deltas(session, patch), plain_adalora(plain, begun, h, REQUESTS))
    assert sum(patch.about["notes"][0]["ranks"].values()) == len(SITES) * h.rank
