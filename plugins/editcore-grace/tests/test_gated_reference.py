"""Defer and the memory network, against both written down plainly from the maths."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import editcore
from editcore import EditOptions, EditRequest
from editcore.authoring.memories import Seen
from editcore_grace.gated.memory import Gated, Given
from editcore_grace.gated.sides import PARTS, Side
from editcore_hooks import Site

REQUESTS = [EditRequest("{} works as a", "Ada Marlow", "pilot"), EditRequest("{} works as a", "Bo Quist", "poet")]
SITE = Site("mlp_out", 1)


def plain_gate(tensors: dict[str, torch.Tensor], h: torch.Tensor) -> torch.Tensor:
    return sum((key @ h).exp() for key in tensors["keys"]).log() + tensors["bias"]


def plain_output(form: str, tensors: dict[str, torch.Tensor], h: torch.Tensor) -> torch.Tensor:
    if form == "defer":
        return tensors["up"] @ (tensors["down"] @ h) + tensors["constant"]
    weights = [(key @ h).exp() for key in tensors["keys"]]
    return sum(w / sum(weights) * value for w, value in zip(weights, tensors["values"], strict=True))


@pytest.mark.parametrize(("method", "more"), [("defer", {"rank": 2}), ("memory-network", {"slots": 3})])
def test_what_is_trained_is_that_of_a_plain_loop(llama_folder: Path, method: str, more: dict[str, int]) -> None:
    chosen = {"layer": 1, "steps": 4, "lr": 0.02, "stop_loss": 0.0, "passages": 2, "others": 0, **more}
    session = editcore.open(llama_folder)
    patch = session.edit_all(REQUESTS, EditOptions(method, hparams=(("test", chosen),)), measured=False)

    tokenizer, model = session.tokenizer, session.model
    layer = session.anatomy.module(SITE)
    seen: list[Any] = []

    def run(ids: list[int], put: Any = None) -> torch.Tensor:
        def hook(module: Any, args: Any, output: Any) -> Any:
            seen[:] = [args[0][0], output[0]]
            if put is None:
                return None
            changed = output.clone()
            changed[0, put[0]] = put[1](args[0][0, put[0]])
            return changed

        with layer.register_forward_hook(hook):
            return model(torch.tensor([ids])).logits[0]

    texts = [
        (
            tokenizer(r.rendered().text)["input_ids"],
            tokenizer(" " + r.target_new, add_special_tokens=False)["input_ids"],
        )
        for r in REQUESTS
    ]
    h, out, shut = [], [], []
    for prompt, _ in texts:
        run(prompt)
        h.append(seen[0][-1].detach())
        out.append(seen[1][-1].detach())
    for passage in session.neutral.passages[:2]:
        ids = tokenizer(passage)["input_ids"]
        run(ids[:32])
        shut += list(seen[0][1:].detach())
    size = sum(x.norm() for x in h) / 2
    mean, centre = sum(h) / 2 / size, sum(shut) / len(shut) / size
    key = 2 * (mean - centre) / ((mean - centre) @ (mean - centre))
    bias, constant = -(key @ (mean + centre)) / 2, sum(out) / 2
    drawn = torch.Generator().manual_seed(session.seed)
    d = len(mean)
    if method == "defer":
        down = torch.randn(2, d, generator=drawn) / d**0.5
        start = {
            "keys": key[None], "bias": bias, "down": down, "up": torch.zeros(len(constant), 2), "constant": constant,
        }  # fmt: skip
    else:
        keys = key + torch.randn(3, d, generator=drawn) / d**0.5
        start = {"keys": keys, "bias": bias - torch.tensor(3.0).log(), "values": constant.repeat(3, 1)}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    adam, tried = torch.optim.Adam(leaves.values(), lr=0.02), []
    for _ in range(5):
        loss = torch.zeros(())
        for (prompt, target), state in zip(texts, h, strict=True):
            last = len(prompt) - 1
            logits = run([*prompt, *target][:-1], (last, lambda x: plain_output(method, leaves, x / size)))[last:]
            loss = loss + cross_entropy(logits, torch.tensor(target)) / 2
            loss = loss - torch.sigmoid(plain_gate(leaves, state / size)).log() / 2
        for state in shut:
            loss = loss - torch.sigmoid(-plain_gate(leaves, state / size)).log() / len(shut)
        tried.append((float(loss.detach()), {name: leaf.detach().clone() for name, leaf in leaves.items()}))
        adam.zero_grad()
        loss.backward()
        adam.step()
    best = min(tried, key=lambda pair: pair[0])[1]
    for name, tensor in best.items():
        scaled = tensor / size if name in ("keys", "down") else tensor
        torch.testing.assert_close(patch.tensors[f"payload/{name}"], scaled, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("form", list(PARTS))
@pytest.mark.parametrize("replace", ["last", "prompt", "all"])
def test_rows_are_decided_and_changed_as_written_down(form: str, replace: str) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    shapes = {"keys": (1 if form == "defer" else 3, 4), "bias": (), "down": (2, 4), "up": (5, 2), "constant": (5,)}
    shapes["values"] = (3, 5)
    sides = [Side.of(form, [drawn(*shapes[name]) for name in PARTS[form]]) for _ in range(3)]
    if form != "defer":  # three keys open a gate further than one
        sides = [Side(form, {**side.tensors, "bias": side.tensors["bias"] - 2}) for side in sides]
    memories = [Gated(SITE, replace, [Given(side, (f"prompt {i}",))]) for i, side in enumerate(sides)]
    joined = Gated.joined(memories)
    inputs, outputs = drawn(6, 4, 4), drawn(6, 4, 5)
    last = torch.tensor([3, 2, 1, 3, 2, 0])
    prompt = torch.arange(4) <= last[:, None]
    seen = Seen(inputs, outputs, prompt, last)
    chosen = joined.decide(seen)
    rows = (chosen >= 0).nonzero()[:, 0]
    changed = joined.act(SITE, chosen[rows], seen.rows(rows))
    assert 0 < len(rows) < 6
    for row in range(6):
        h = inputs[row, last[row]]
        z = [float(plain_gate(dict(side.tensors), h)) for side in sides]
        best = max(range(3), key=lambda i: z[i])
        assert int(chosen[row]) == (best if z[best] >= 0 else -1)
        if z[best] < 0:
            continue
        at = {"last": [int(last[row])], "prompt": list(range(int(last[row]) + 1)), "all": [0, 1, 2, 3]}[replace]
        expected = outputs[row].clone()
        for t in at:
            expected[t] = plain_output(form, dict(sides[best].tensors), inputs[row, t])
        torch.testing.assert_close(changed[rows.tolist().index(row)], expected)
    assert joined.prompt_only is (replace != "all")
