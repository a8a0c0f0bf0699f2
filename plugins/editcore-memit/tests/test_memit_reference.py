"""A plain MEMIT written from the maths: one row at a time, no padding, no cache, weights written layer by layer, LU.

The plugin, which batches, resumes and writes nothing, must agree with it: keys, residuals, updates, and the effect.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.testing.tiny import LINEAR_ATTENTION, tiny_model
from editcore_hooks import Location, Site, State
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_memit.hparams import MemitHparams
from editcore_memit.method import compute

LAYERS = (0, 1, 2)
CONTEXTS = ("{}", "Bo Quist lives in Rome. {}", "So it is. {}")
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} earns a living as a", "Cleo Tolland", "poet", id="3"),
]
HPARAMS = MemitHparams(
    v_steps=3, v_lr=0.1, clamp=0.75, v_weight_decay=0.5, context_templates=CONTEXTS, layers=LAYERS, mom2_weight=20.0,
    mom2_tokens=1500, mom2_ridge=1e-3,
)  # fmt: skip


@frozen
class Plain:
    """The model as transformers gives it, and what differs between families."""

    model: Any
    tokenizer: Any
    blocks: Sequence[Any]
    lead: list[int]

    def ids(self, text: str) -> list[int]:
        return self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def down(self, layer: int) -> Any:
        mlp = self.blocks[layer].mlp
        return mlp.c_proj if hasattr(mlp, "c_proj") else mlp.down_proj

    def run(self, ids: Sequence[int], layer: int, shift: tuple[int, Tensor] | None = None) -> dict[str, Tensor]:
        """Logits (T, V), the key (T, f) and the block output (T, d) of a layer; `shift` adds to the latter at s."""
        seen: dict[str, Tensor] = {}

        def key(module: Any, args: Any) -> None:
            seen["key"] = args[0][0]

        def block(module: Any, args: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            if shift is not None:
                at = torch.zeros_like(hidden)
                at[0, shift[0]] = 1
                hidden = hidden + at * shift[1]
            seen["block"] = hidden[0]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handles = [
            self.down(layer).register_forward_pre_hook(key),
            self.blocks[layer].register_forward_hook(block),
        ]
        try:
            logits = self.model(input_ids=torch.tensor([list(ids)])).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return {"logits": logits, **seen}

    def weight(self, layer: int) -> Tensor:
        """W (d, f), a view."""
        down = self.down(layer)
        return down.weight.T if type(down).__name__ == "Conv1D" else down.weight  # type: ignore[no-any-return]


@pytest.fixture(params=["gpt2", "llama", *LINEAR_ATTENTION[:1]])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_model(request.param, tmp_path / "model", n_layers=4)


@pytest.fixture
def session(folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


@pytest.fixture
def plain(folder: Path) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if model.config.model_type == "gpt2":
        return Plain(model, tokenizer, model.transformer.h, [])
    lead = [tokenizer.bos_token_id] if model.config.model_type == "llama" else []
    return Plain(model, tokenizer, model.model.layers, lead)


def rows_of(plain: Plain, request: EditRequest) -> list[tuple[list[int], int, list[int]]]:
    """Input ids, the subject's last token, target ids: of each context."""
    before, after = request.prompt.split("{}")
    rows = []
    for context in CONTEXTS:
        start = context.replace("{}", "") + before + request.subject
        prompt, whole = plain.ids(start + after), plain.ids(f"{start}{after} {request.target_new}")
        rows.append((whole[:-1], len(plain.ids(start)) - 1, whole[len(prompt) :]))
    return rows


def plain_value(plain: Plain, request: EditRequest, layer: int) -> Tensor:
    """z (d,): block output plus δ, by Adam from torch."""
    rows = rows_of(plain, request)
    subject = plain.ids(request.subject)
    v0 = plain.run(rows[0][0], layer)["block"][rows[0][1]].clone()
    start = plain.run(subject, layer)["logits"][-1].log_softmax(-1)
    delta = torch.zeros_like(v0, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=HPARAMS.v_lr)
    for step in range(HPARAMS.v_steps):
        losses = []
        for ids, s, target in rows:
            logprobs = plain.run(ids, layer, (s, delta))["logits"].log_softmax(-1)
            scored = [logprobs[len(ids) - len(target) + j, token] for j, token in enumerate(target)]
            losses.append(-torch.stack(scored).mean())
        now = plain.run(subject, layer, (len(subject) - 1, delta))["logits"][-1].log_softmax(-1)
        kl = (now.exp() * (now - start)).sum()
        size = delta.norm() if step else (delta * 0).sum()
        loss = torch.stack(losses).mean() + HPARAMS.kl * kl + HPARAMS.v_weight_decay * size / v0.norm() ** 2
        if float(loss.detach()) < 0.05 or step == HPARAMS.v_steps - 1:
            break
        (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            limit = HPARAMS.clamp * v0.norm()
            delta *= min(1.0, float(limit / delta.norm()))
    return v0 + delta.detach()


def plain_key(plain: Plain, request: EditRequest, layer: int) -> Tensor:
    """Mean of the groups {clean} and {other contexts}, (f,)."""
    clean, *others = (plain.run(ids, layer)["key"][s] for ids, s, _ in rows_of(plain, request))
    return (clean + torch.stack(others).mean(0)) / 2


@contextmanager
def restored(plain: Plain) -> Iterator[None]:
    kept = {layer: plain.weight(layer).clone() for layer in LAYERS}
    yield
    for layer, weight in kept.items():
        plain.weight(layer).copy_(weight)


def plain_memit(
    plain: Plain, moments: dict[int, Tensor], requests: Sequence[EditRequest], history: dict[int, Tensor] | None = None
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Δ (d, f) and K (f, n) of each layer, float64; the updates are left in the weights."""
    last = LAYERS[-1]
    z = torch.stack([plain_value(plain, request, last) for request in requests], 1).double()  # (d, n)
    deltas, keys = {}, {}
    for i, layer in enumerate(LAYERS):
        k = torch.stack([plain_key(plain, request, layer) for request in requests], 1).double()  # (f, n)
        clean = [rows_of(plain, request)[0] for request in requests]
        h = torch.stack([plain.run(ids, last)["block"][s] for ids, s, _ in clean], 1).double()
        r = (z - h) / (len(LAYERS) - i)
        m = HPARAMS.mom2_weight * moments[layer] + k @ k.T
        if history is not None:
            m = m + history[layer] @ history[layer].T
        deltas[layer], keys[layer] = r @ torch.linalg.solve(m, k).T, k
        plain.weight(layer).add_(deltas[layer].float())
    return deltas, keys


def moments_of(session: editcore.Session) -> dict[int, Tensor]:
    found = second_moments(session, LAYERS, MomentRequest.of(HPARAMS))
    means = {layer: moment.mean.double() for layer, (moment, _) in found.items()}
    return {
        layer: c + HPARAMS.mom2_ridge * c.diagonal().mean() * torch.eye(len(c), dtype=c.dtype)
        for layer, c in means.items()
    }


LOCATION = Location(tuple(Site("mlp_out", layer) for layer in LAYERS))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_updates_of_all_layers_agree(session: editcore.Session, plain: Plain) -> None:
    update = compute(session, REQUESTS, LOCATION, State(""), HPARAMS)
    with restored(plain):
        deltas, keys = plain_memit(plain, moments_of(session), REQUESTS)
    for layer in LAYERS:
        found = update.tensors[Site("mlp_out", layer)]
        assert relative((found.out @ found.in_).double(), deltas[layer]) < 0.02, layer
        assert relative(update.state_increment[f"keys.{layer}"].double(), keys[layer]) < 0.01
    assert update.notes["keys"] == len(REQUESTS)


def test_a_second_batch_spares_the_keys_of_the_first_as_it_should(session: editcore.Session, plain: Plain) -> None:
    first, second = REQUESTS[:2], REQUESTS[2:]
    options = editcore.EditOptions("memit", hparams=(("test", {"layers": LAYERS, **_json(HPARAMS)}),))
    patch = session.edit_all(first, options)
    with session.patched(patch):
        after = session.edit_all(second, options)
    with restored(plain):
        moments = moments_of(session)
        _, keys = plain_memit(plain, moments, first)
        deltas, _ = plain_memit(plain, moments, second, keys)
    for key, layer in zip(sorted(after.targets), LAYERS, strict=True):
        left, right = (after.tensors[f"{key}/{part}"].double() for part in ("left", "right"))
        stored = left @ right
        assert relative(stored if stored.shape == deltas[layer].shape else stored.T, deltas[layer]) < 0.05


def test_forgetful_settings_take_no_notice_of_earlier_edits(session: editcore.Session) -> None:
    keys = {layer: torch.ones(session.anatomy.mlp_width, 2) for layer in LAYERS}
    forgetful = evolve(HPARAMS, history=False)
    plainly = compute(session, REQUESTS, LOCATION, State(""), forgetful)
    with_state = compute(session, REQUESTS, LOCATION, State("", ("p",), keys), forgetful)
    assert not with_state.state_increment
    for site, found in plainly.tensors.items():
        assert torch.equal(found.out, with_state.tensors[site].out)
        assert torch.equal(found.in_, with_state.tensors[site].in_)


def _json(hparams: MemitHparams) -> dict[str, Any]:
    from editcore.plugins.hparams import to_json

    return to_json(hparams)
