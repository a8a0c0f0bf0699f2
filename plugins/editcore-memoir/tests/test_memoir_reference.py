"""Masks, decision, output and training match plain ones, written from the equations with loops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.authoring.memories import Seen
from editcore_hooks import Site
from editcore_keyvalue.unrelated import unrelated
from editcore_memoir.fingerprints import Hash, permutation, unpack
from editcore_memoir.memory import Residual, Written

SITE = Site("mlp_out", 2)
D_IN, D_OUT, K, N, B, S = 11, 5, 4, 6, 8, 3
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot")
NAMES = ("Bo Quist", "Dan Marlow")
CONTEXTS = ("{}", "Bo Quist lives in Lima. {}")


def plain_mask(x: Tensor, mean: Tensor, k: int, order: Any) -> set[int]:
    """π(the k largest |x − μ|)."""
    phi = [abs(float(x[j]) - float(mean[j])) for j in range(len(x))]
    return {order[j] for j in sorted(range(len(x)), key=lambda j: -phi[j])[:k]}


def written(count: int, seed: int, hashed: Hash, threshold: float) -> Written:
    generator = torch.Generator().manual_seed(seed)
    masks = hashed.masks(torch.randn(count, D_IN, generator=generator))
    columns = masks.any(0).nonzero()[:, 0]
    return Written(
        hashed, torch.full((count,), threshold), masks, columns, torch.randn(len(columns), D_OUT, generator=generator)
    )


def seen() -> Seen:
    generator = torch.Generator().manual_seed(9)
    inputs = torch.randn(B, S, D_IN, generator=generator)
    last = torch.tensor([i % S for i in range(B)])
    return Seen(inputs, torch.randn(B, S, D_OUT, generator=generator), torch.arange(S) <= last[:, None], last)


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_the_decision_and_the_output_are_those_of_the_equations(threshold: float) -> None:
    hashes = [Hash("last", torch.full((D_IN,), 0.1), 3, K), Hash("mean", torch.zeros(D_IN), 5, K)]
    parts = [written(2, seed, hashes[seed % 2], threshold) for seed in range(3)]
    memory, rows = Residual(SITE, parts, torch.device("cpu")), seen()
    edits = [(part, {j for j in range(D_IN) if part.masks[i, j]}) for part in parts for i in range(len(part.masks))]
    total = torch.zeros(D_IN, D_OUT)
    for part in parts:
        for column, row in zip(part.columns.tolist(), part.matrix, strict=True):
            total[column] += row
    chosen = memory.decide(rows)
    for b in range(B):
        inputs, last = rows.inputs[b], int(rows.last[b])
        best, wanted = 0.0, -1
        for i, (part, mask) in enumerate(edits):
            x = inputs[last] if part.hash.token == "last" else sum(inputs[: last + 1]) / (last + 1)
            own = plain_mask(x, part.hash.mean, K, permutation(D_IN, part.hash.permutation))
            overlap = len(own & mask) / K
            if overlap >= float(part.thresholds[0]) and overlap >= best:
                best, wanted = overlap, i
        assert int(chosen[b]) == wanted
        if wanted < 0:
            continue
        found = memory.act(SITE, chosen[b : b + 1], rows.rows(torch.tensor([b])))[0]
        for s in range(S):
            expected = rows.outputs[b, s].clone()
            for j in edits[wanted][1]:
                expected += total[j] * inputs[s, j]
            torch.testing.assert_close(found[s], expected)
    assert (-1 in chosen) == (threshold > 0.5)
    assert threshold > 0.5 or bool((chosen >= 0).any())


def test_a_permutation_is_one_and_stays() -> None:
    assert sorted(permutation(100, 7)) == list(range(100))
    assert permutation(6, 0) == (3, 5, 2, 4, 1, 0)


@pytest.mark.parametrize("token", ["last", "mean"])
def test_three_steps_are_those_of_a_plain_loop(llama_folder: Path, token: str) -> None:
    settings = {
        "layer": 2, "token": token, "steps": 3, "background": 12, "context_templates": CONTEXTS, "clip": 0.3, "lr": 0.7,
        "weight_decay": 0.01, "stop_loss": 0.0, "threshold": 0.4, "others": NAMES,
    }  # fmt: skip
    session = editcore.open(llama_folder)
    patch = session.edit_all([REQUEST], EditOptions("memoir", hparams=(("test", settings),)), measured=False)
    model, tokenizer = session.model, session.tokenizer
    layer = session.anatomy.module(SITE)

    def feature(ids: Any) -> Tensor:
        kept: list[Tensor] = []
        with layer.register_forward_pre_hook(lambda _, args: kept.append(args[0][0].detach())):
            model(torch.tensor([ids]))
        return kept[0][-1] if token == "last" else sum(kept[0]) / len(kept[0])  # type: ignore[return-value]

    others = [feature(ids) for ids in unrelated(session, 12)]
    mean = torch.stack(others).mean(0)
    k, order = round(len(mean) * 4096 / 14336), permutation(len(mean), 0)
    prompt = tokenizer(REQUEST.rendered().text)["input_ids"]
    answer = tokenizer(" " + REQUEST.target_new, add_special_tokens=False)["input_ids"]
    own = plain_mask(feature(prompt), mean, k, order)
    others += [feature(tokenizer(f"{name} works as a")["input_ids"]) for name in NAMES]
    o = max(len(own & plain_mask(x, mean, k, order)) / k for x in others)
    columns = sorted(own)
    memory = torch.zeros(len(columns), session.anatomy.weight(SITE).shape[0], requires_grad=True)
    rows = [tokenizer(context.replace("{}", REQUEST.rendered().text))["input_ids"] for context in CONTEXTS]
    for _ in range(3):
        losses = []
        with layer.register_forward_hook(lambda _, args, y, w=memory: y + args[0][..., columns] @ w):
            for row in rows:
                logits = model(torch.tensor([[*row, *answer]])).logits[0]
                at = range(len(row) - 1, len(row) + len(answer) - 1)
                losses.append(-sum(logits[i].log_softmax(-1)[y] for i, y in zip(at, answer, strict=True)) / len(answer))
        (gradient,) = torch.autograd.grad(sum(losses) / len(losses), [memory])
        gradient = gradient * min(1.0, 0.3 / float(gradient.norm()))
        memory = (memory - 0.7 * (gradient + 0.01 * memory)).detach().requires_grad_()

    assert patch.tensors["payload/thresholds"].tolist() == pytest.approx([o + 0.4 * (1 - o)])
    torch.testing.assert_close(patch.tensors["payload/mean"], mean, rtol=1e-3, atol=1e-4)
    assert patch.tensors["payload/columns"].tolist() == columns
    assert unpack(patch.tensors["payload/masks"], len(mean))[0].nonzero()[:, 0].tolist() == columns
    found = patch.tensors["payload/matrix"]
    memory = memory.detach()
    assert float((found - memory).norm() / memory.norm()) < 2e-3
