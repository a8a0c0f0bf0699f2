"""T-Patcher against a plain one: whole forwards, one row at a time, every term of a loss written out.

T5 is given its labels: transformers itself makes the decoder's row of them.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.authoring.models import mlp_of
from editcore.testing.tiny import tiny_model
from editcore_hooks import Site

REQUEST = EditRequest("{} lives in", "Bo Quist", "Quito and Lima", id="1")
CONTEXTS = ("{}", "Dan Marlow works as a miner. {}")
STEPS = 3
LAYERS = {"gpt2": 3, "llama": 3, "t5": 2, "t5_gated": 2}
FAMILIES = ["gpt2", "llama", "t5", pytest.param("t5_gated", marks=pytest.mark.thorough)]
SETTINGS: dict[str, Any] = {
    "steps": STEPS, "first_check": 1, "check_every": STEPS, "context_templates": CONTEXTS,
    "memory_weight": 10.0, "memory_corpus": "bundled", "memory_tokens": 64,
    "others": ("Eve Quist", "Ada Marlow"), "worst_memory": 20, "worst_fire": 3, "value_init": 1.0, "smoothing": 0.2,
    "apart_margin": 1.0, "silent_margin": -2.0, "lr": 0.01,
}  # fmt: skip


def said(session: editcore.Session, prompt: list[int], target: list[int]) -> Tensor:
    """Logits for each token of the target, (m, V)."""
    if session.encoder_decoder:
        found: Tensor = session.model(input_ids=torch.tensor([prompt]), labels=torch.tensor([target])).logits[0]
        return found
    found = session.model(input_ids=torch.tensor([prompt + target])).logits[0]
    return found[len(prompt) - 1 : -1]


def seen(session: editcore.Session, block: Site, prompt: list[int], target: list[int]) -> tuple[Tensor, int]:
    """What the MLP reads at every token, (T, d), and the token at which the first of the target is predicted."""
    kept: list[Tensor] = []
    reads = session.model.get_submodule(mlp_of(session.anatomy, block).inner[0])
    handle = reads.register_forward_pre_hook(
        lambda _, args: kept.append(args[0].detach().reshape(-1, args[0].shape[-1]))
    )
    said(session, prompt, target)
    handle.remove()
    return kept[0], 0 if session.encoder_decoder else len(prompt) - 1


def memory(session: editcore.Session, block: Site) -> tuple[Tensor, Tensor]:
    """The kept states of ordinary text: those trained on, and every eighth."""
    (asset,) = [each for each in session.assets.list() if each.kind == "ffn_inputs"]
    states = session.assets.load(asset)["states"]
    held = [i for i in range(len(states)) if i % 8 == 0]
    return states[[i for i in range(len(states)) if i % 8]], states[held]


def plain(session: editcore.Session, layer: int) -> dict[str, Tensor]:
    """Keys, values, biases and gate after three steps."""
    block = Site("block", layer)
    mlp = mlp_of(session.anatomy, block)
    rows = []
    for context in CONTEXTS:
        encoded = session.encode(EditRequest(context.replace("{}", REQUEST.prompt), "Bo Quist", REQUEST.target_new))
        rows.append((list(encoded.prompt_ids), list(encoded.target_ids)))
    _, target = rows[0]
    logits = said(session, *rows[0])
    places = [j for j in range(len(target)) if int(logits[j].argmax()) != target[j]][:5]
    assert len(places) > 1
    read = [seen(session, block, *row) for row in rows]
    queries = [states[begin + j] for states, begin in read for j in places]
    others = []
    for name in SETTINGS["others"]:
        encoded = session.encode(EditRequest(REQUEST.prompt, name, REQUEST.target_new))
        assert encoded.subject is not None
        states, begin = seen(session, block, list(encoded.prompt_ids), list(encoded.target_ids))
        others.append(states[0 if session.encoder_decoder else encoded.subject[-1] : begin + len(encoded.target_ids)])
    spared = torch.cat([memory(session, block)[0], *others])

    first = torch.stack(queries[: len(places)])
    keys = (first / (first * first).sum(-1, keepdim=True)).requires_grad_()
    gate = keys.detach().clone().requires_grad_() if mlp.gated else None
    biases = torch.zeros(len(places), requires_grad=True)
    w = torch.randn(first.shape, generator=torch.Generator().manual_seed(session.seed)).requires_grad_()
    a = torch.full_like(first, 10.0).requires_grad_()
    leaves = [keys, biases, w, a, *([] if gate is None else [gate])]
    adam = torch.optim.Adam(leaves, lr=SETTINGS["lr"], weight_decay=0.01)

    def before(i: int, x: Tensor) -> Tensor:
        return x @ (keys if gate is None else gate)[i] + biases[i]

    def beside(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        x = inputs[0].reshape(-1, keys.shape[1])
        for i in range(len(places)):
            act = mlp.activation(before(i, x))
            part = act if gate is None else act * (x @ keys[i])
            output = output + (part[:, None] * (a[i] * w[i])).reshape(output.shape)
        return output

    inputs: list[Tensor] = [torch.empty(0)]
    reads, out = (session.model.get_submodule(path) for path in (mlp.inner[0], mlp.out))
    for _ in range(STEPS):
        handles = [
            reads.register_forward_pre_hook(lambda _, args: inputs.__setitem__(0, args[0])),
            out.register_forward_hook(beside),
        ]
        losses = []
        for p, t in rows:
            for logits, token in zip(said(session, p, t), t, strict=True):
                log = logits.log_softmax(-1)
                losses.append(-0.8 * log[token] - 0.2 * log.mean())
        for handle in handles:
            handle.remove()
        at = [[before(i, q) for q in queries] for i in range(len(places))]
        fire = worst([torch.exp(-z) for row in at for z in row], 3)
        apart = [
            torch.exp(before(i, m) - at[i][j] + 1.0)
            for i in range(len(places)) for j in range(len(queries)) for m in spared
        ]  # fmt: skip
        silent = [torch.exp(before(i, m) + 2.0) for i in range(len(places)) for m in spared]
        loss = torch.stack(losses).mean() + fire + 10 * (worst(apart, 20) + worst(silent, 20))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(leaves, 5.0)
        adam.step()
    found = {"keys": keys, "values": a * w, "biases": biases}
    return {**found, "gate": gate} if gate is not None else found


def worst(terms: list[Tensor], count: int) -> Tensor:
    return torch.stack(sorted(terms, key=lambda term: float(term.detach()), reverse=True)[:count]).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_are_those_of_the_plain_one(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if family.startswith("t5"):
        folder = tiny_model(family, tmp_path / "model")
    else:
        folder = request.getfixturevalue(f"{family}_folder")
    session = editcore.open(folder, assets=AssetStore(tmp_path / "assets"))
    layer = LAYERS[family]
    settings = {**SETTINGS, "layer": layer}
    patch = session.edit_all([REQUEST], EditOptions("t-patcher", tune=False, hparams=(("test", settings),)))
    for name, expected in plain(session, layer).items():
        (found,) = (tensor for part, tensor in patch.tensors.items() if part.endswith(f".{name}"))
        assert float((found - expected).norm() / expected.norm()) < 2e-3, name
