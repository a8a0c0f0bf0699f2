"""CrispEdit written from the maths: a copy of the model, trained in place, one unpadded row at a time.

Moments and their eigenvectors are those of the store, which have plain references of their own; the mask is made of all
products in a list. Deltas are compared by norm, because Adam's first steps go by the sign of a gradient.
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
from editcore import EditOptions, EditRequest, Patch
from editcore.assets.store import AssetStore
from editcore_crispedit.hparams import CrispEditHparams
from editcore_keyvalue.nullspace import eigenbasis
from editcore_keyvalue.statistic import GRADIENTS, KEYS
from editcore_keyvalue.store import MomentRequest, second_moments

LAYERS = (1, 2)
REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Oslo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Quito and Lima", id="3"),
)
STEPS = 3
Moments = dict[int, tuple[Tensor, Tensor]]
"""A and B by layer."""


@frozen
class Plain:
    """The model as transformers gives it, and names of its down projections in the layers edited."""

    model: Any
    tokenizer: Any
    down: dict[int, str]
    transposed: bool
    lead: list[int]

    def ids(self, text: str) -> list[int]:
        return self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


@pytest.fixture
def plain(folder: Path) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if model.config.model_type == "gpt2":
        return Plain(model, tokenizer, {n: f"transformer.h.{n}.mlp.c_proj" for n in LAYERS}, True, [])
    return Plain(model, tokenizer, {n: f"model.layers.{n}.mlp.down_proj" for n in LAYERS}, False, [1])


def settings(**more: Any) -> CrispEditHparams:
    values = {
        "layers": LAYERS,
        "lr": 1e-3,
        "steps": STEPS,
        "energy": 0.9,
        "eos": False,
        "mom2_tokens": 1000,
        "gradient_tokens": 500,
    }
    return CrispEditHparams(**{**values, **more})


def ordinary(session: editcore.Session) -> tuple[Moments, dict[int, tuple[int, int]]]:
    """A and B of ordinary text, and the positions that they are over."""
    a = second_moments(session, LAYERS, MomentRequest(tokens=1000), KEYS)
    b = second_moments(session, LAYERS, MomentRequest(tokens=500), GRADIENTS)
    moments = {n: (a[n][0].mean.double(), b[n][0].mean.double()) for n in LAYERS}
    return moments, {n: (a[n][0].weight, b[n][0].weight) for n in LAYERS}


def kept_bases(session: editcore.Session) -> dict[int, tuple[Any, Any]]:
    found = {}
    for n in LAYERS:
        (a, of_a), (b, of_b) = (
            second_moments(session, LAYERS, MomentRequest(tokens=tokens), statistic)[n]
            for tokens, statistic in ((1000, KEYS), (500, GRADIENTS))
        )
        bases = eigenbasis(session, n, a.mean, of_a)[0], eigenbasis(session, n, b.mean, of_b, GRADIENTS)[0]
        for basis, moment in zip(bases, (a.mean, b.mean), strict=True):
            rebuilt = (basis.vectors * basis.values) @ basis.vectors.T
            assert (rebuilt - moment).norm() < 1e-4 * moment.norm()
        found[n] = tuple((basis.values.double(), basis.vectors.double()) for basis in bases)
    return found


def mask(beta: Tensor, alpha: Tensor, energy: float) -> Tensor:
    products = sorted(
        ((b * a, i, j) for i, b in enumerate(beta.tolist()) for j, a in enumerate(alpha.tolist())), reverse=True
    )
    total, so_far, found = sum(max(p, 0.0) for p, *_ in products), 0.0, torch.ones(len(beta), len(alpha)).double()
    for product, i, j in products:
        if so_far >= energy * total:
            break
        found[i, j] = 0
        so_far += product
    return found


def plain_deltas(
    plain: Plain, bases: dict[int, tuple[Any, Any]], h: CrispEditHparams, requests: Sequence[EditRequest], start: Any
) -> list[Tensor]:
    """Δ (d, f) of each layer."""
    model = copy.deepcopy(start)
    weights = {n: model.get_parameter(f"{name}.weight").requires_grad_() for n, name in plain.down.items()}
    begin = {n: weight.detach().clone() for n, weight in weights.items()}
    masks = {n: mask(b[0], a[0], h.energy) for n, (a, b) in bases.items()}

    def canonical(n: int, matrix: Tensor) -> Tensor:
        return (matrix.T if plain.transposed else matrix).double()

    def projected(n: int, matrix: Tensor) -> Tensor:
        (_, v), (_, u) = bases[n]
        return u @ ((u.T @ canonical(n, matrix) @ v) * masks[n]) @ v.T

    def put(n: int, change: Tensor) -> None:
        weights[n].data.copy_(begin[n] + (change.T if plain.transposed else change))

    coordinates = {n: torch.zeros_like(masks[n]).float().requires_grad_() for n in LAYERS}
    leaves = [weights[n] if h.adam == "weights" else coordinates[n] for n in LAYERS]
    adam = torch.optim.Adam(leaves, lr=h.lr)
    for _ in range(h.steps):
        losses = []
        for request in requests:
            x, whole = plain.ids(request.rendered().text), plain.ids(f"{request.rendered().text} {request.target_new}")
            labels = torch.tensor([[-100] * len(x) + whole[len(x) :]])
            losses.append(model(input_ids=torch.tensor([whole]), labels=labels).loss)
        gradients = torch.autograd.grad(torch.stack(losses).mean(), list(weights.values()))
        for n, leaf, gradient in zip(LAYERS, leaves, gradients, strict=True):
            (_, v), (_, u) = bases[n]
            if h.adam == "weights":
                found = projected(n, gradient)
                leaf.grad = (found.T if plain.transposed else found).float()
            else:
                leaf.grad = ((u.T @ canonical(n, gradient) @ v) * masks[n]).float()
        adam.step()
        if h.adam == "eigenbasis":
            for n in LAYERS:
                (_, v), (_, u) = bases[n]
                put(n, (u @ coordinates[n].detach().double() @ v.T).float())
    return [projected(n, weights[n].detach() - begin[n]) for n in LAYERS]


def edited(session: editcore.Session, requests: Sequence[EditRequest], h: CrispEditHparams) -> Patch:
    return session.edit_all(requests, EditOptions("crispedit", hparams=(("test", attrs.asdict(h)),)), measured=False)


def deltas(session: editcore.Session, patch: Patch) -> list[Tensor]:
    found = []
    for layer in LAYERS:
        (key,) = (key for key, site in patch.about["sites"].items() if site["layer"] == layer)
        delta = patch.tensors[f"{key}/delta"]
        found.append((delta.T if session.model.config.model_type == "gpt2" else delta).double())
    return found


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert float(other.norm()) > 0
        assert float((one - other).norm() / other.norm()) < 0.02


@pytest.mark.parametrize("adam", ["weights", "eigenbasis"])
def test_the_deltas_are_those_of_the_plain_loop(session: editcore.Session, plain: Plain, adam: Any) -> None:
    h = settings(adam=adam)
    patch = edited(session, REQUESTS, h)
    bases = kept_bases(session)
    assert_same(deltas(session, patch), plain_deltas(plain, bases, h, REQUESTS, plain.model))
    leak = list(patch.about["notes"][0]["leak"].values())
    assert all(share > 0.01 for share in leak) if adam == "weights" else leak == [0.0, 0.0]


def test_a_later_edit_spares_what_earlier_ones_read(session: editcore.Session, plain: Plain) -> None:
    """Moments are merged with those of the first edit's text, read from the edited model row by row."""
    h = settings(history_weight=50.0)
    first = edited(session, REQUESTS[:2], h)
    with session.patched(first):
        second = deltas(session, edited(session, REQUESTS[2:], h))
        forgetful = deltas(session, edited(session, REQUESTS[2:], settings(history=False)))
    model = copy.deepcopy(plain.model)
    for name, delta in zip(plain.down.values(), deltas(session, first), strict=True):
        model.get_parameter(f"{name}.weight").data += (delta.T if plain.transposed else delta).float()
    moments, positions = ordinary(session)
    rows = [plain.ids(f"{request.rendered().text} {request.target_new}") for request in REQUESTS[:2]]
    bases = {}
    for n, name in plain.down.items():
        k, g = read_rows(model, name, rows)
        m = len(k)
        pairs = zip(moments[n], positions[n], (k, g), strict=True)
        merged = [(count * mean + 50.0 * x.T @ x) / (count + 50.0 * m) for mean, count, x in pairs]
        bases[n] = tuple(torch.linalg.eigh(each) for each in merged)
    wanted = plain_deltas(plain, bases, h, REQUESTS[2:], model)
    assert_same(second, wanted)
    assert all((one - other).norm() > 0.02 * other.norm() for one, other in zip(second, forgetful, strict=True))


def read_rows(model: Any, name: str, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Inputs and output gradients of a module at all positions with a next token, (m, f) and (m, d)."""
    module, inputs, slopes = model.get_submodule(name), [], []
    handles = [
        module.register_forward_hook(lambda _, given, out: inputs.append(given[0][0].detach())),
        module.register_full_backward_hook(lambda _, __, out: slopes.append(out[0][0])),
    ]
    module.weight.requires_grad_()
    for row in rows:
        ids = torch.tensor([row])
        (model(input_ids=ids, labels=ids).loss * (len(row) - 1)).backward()
    for handle in handles:
        handle.remove()
    return tuple(torch.cat([each[:-1] for each in found]).double() for found in (inputs, slopes))  # type: ignore[return-value]
