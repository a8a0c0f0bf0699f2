"""CaliNET against a plain one: whole forwards of one row at a time, slot by slot, beside the model of transformers.

Compared by norm: Adam's first steps go by the sign of a gradient, so that an entry with hardly any may fall on either
side.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.testing.tiny import tiny_model

LAYER, COUNT, STEPS, SPARE = 1, 5, 3, 2.0
CONTEXTS = ("{}", "Dan Marlow works as a miner. {}")
OTHERS = ("Eve Quist", "Cleo Marlow")
REQUESTS = [
    EditRequest("{} lives in", "Bo Quist", "Quito and Lima", id="1"),
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="2"),
]
SETTINGS: dict[str, Any] = {
    "layers": [LAYER], "slots": COUNT, "steps": STEPS, "lr": 1e-2, "stop_loss": 0.0, "eos": False,
    "context_templates": CONTEXTS, "spare_weight": SPARE, "text_count": 0, "others": OTHERS,
}  # fmt: skip
FAMILIES = ["gpt2", *(pytest.param(family, marks=pytest.mark.thorough) for family in ("llama", "t5_gated")), "t5"]


class Plain:
    """A model of transformers, and its MLP of one block by hand. T5 is given labels, and makes the decoder's row."""

    def __init__(self, folder: Path, family: str) -> None:
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        self.both = family.startswith("t5")
        auto: Any = AutoModelForSeq2SeqLM if self.both else AutoModelForCausalLM
        self.model = auto.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.gated = family in ("llama", "t5_gated")
        self.start = [self.tokenizer.bos_token_id] if family == "llama" else []
        if self.both:
            self.mlp = self.model.decoder.block[LAYER].layer[-1].DenseReluDense
        else:
            self.mlp = (self.model.model.layers if family == "llama" else self.model.transformer.h)[LAYER].mlp
        self.act = self.mlp.act_fn if family == "llama" else self.mlp.act

    def ids(self, text: str) -> list[int]:
        return self.start + self.tokenizer(text, add_special_tokens=self.both)["input_ids"]

    def said(self, text: str, target: str) -> tuple[Tensor, Tensor]:
        """log p for each token of the target, (m, V), and these tokens."""
        if self.both:
            x, y = (torch.tensor([self.ids(part)]) for part in (text, target))
            return self.model(input_ids=x, labels=y).logits[0].log_softmax(-1), y[0]
        whole = torch.tensor([self.ids(f"{text} {target}")])
        begin = len(self.ids(text))
        return self.model(input_ids=whole).logits[0, begin - 1 : -1].log_softmax(-1), whole[0, begin:]

    def states(self, text: str, target: str) -> Tensor:
        """What the MLP reads up to where it says the last token of the target, (T, d)."""
        kept: list[Tensor] = []
        handle = self.mlp.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
        self.said(text, target)
        handle.remove()
        return kept[0] if self.both else kept[0][:-1]

    def with_slots(self, text: str, target: str, slots: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same with the slots beside the MLP."""
        keys, values, *gate = slots

        def beside(_: Any, args: Any, output: Tensor) -> Tensor:
            added = torch.zeros_like(output)
            for i in range(len(keys)):
                read = args[0] @ keys[i]  # (1, T)
                fires = self.act(args[0] @ gate[0][i]) * read if gate else self.act(read)
                added = added + fires[..., None] * values[i]
            return output + added

        handle = self.mlp.register_forward_hook(beside)
        found = self.said(text, target)
        handle.remove()
        return found

    def begin(self, seed: int, key_init: str) -> list[Tensor]:
        """Keys, values and gate as they begin."""
        d = self.model.config.hidden_size
        rows = 2 * COUNT if self.gated else COUNT
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(rows, d, generator=generator) * 2 / d**0.5 - 1 / d**0.5
        if key_init == "states":
            # facts by their ids, first all of them without a context
            order = sorted(REQUESTS, key=lambda one: self.ids(one.rendered().text))
            at, every = [], []
            for context in CONTEXTS:
                for one in order:
                    text = context.replace("{}", one.rendered().text)
                    read = self.states(text, one.target_new)
                    before = self.ids(text[: text.index(one.subject) + len(one.subject)])
                    at.append(read[0 if self.both else len(before) - 1])
                    every.append(read[1:])
            mean = torch.cat(every).mean(0)
            for i in range(rows):
                away = at[i % len(at)] - mean
                drawn[i] += 4 * away / (away @ away)
        first = [drawn[:COUNT], torch.zeros(COUNT, d), *([drawn[COUNT:]] if self.gated else [])]
        return [each.clone().requires_grad_() for each in first]


def train(plain: Plain, seed: int, key_init: str) -> list[Tensor]:
    slots = plain.begin(seed, key_init)
    adam = torch.optim.Adam(slots, lr=SETTINGS["lr"])
    asked = [
        (one.prompt.replace("{}", name), one.target_new)
        for one, name in zip(sorted(REQUESTS, key=lambda one: plain.ids(one.rendered().text)), OTHERS, strict=True)
    ]
    before = [plain.said(*question)[0][0] for question in asked]
    for _ in range(STEPS):
        rows = []
        for one in REQUESTS:
            for context in CONTEXTS:
                text = context.replace("{}", one.rendered().text)
                found, tokens = plain.with_slots(text, one.target_new, slots)
                rows.append(torch.stack([-found[i, token] for i, token in enumerate(tokens)]).mean())
        spared = []
        for question, old in zip(asked, before, strict=True):
            new = plain.with_slots(*question, slots)[0][0]
            spared.append((old.exp() * (old - new)).sum())
        adam.zero_grad()
        (torch.stack(rows).mean() + SPARE * torch.stack(spared).mean()).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return [each.detach() for each in slots]


@pytest.mark.parametrize("key_init", ["random", "states"])
@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_are_those_of_the_plain_one(
    family: str, key_init: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = (
        tiny_model(family, tmp_path) if family.startswith("t5") else request.getfixturevalue(f"{family}_folder")
    )
    session = editcore.open(folder)
    patch = session.edit_all(REQUESTS, EditOptions("calinet", hparams=(("test", {**SETTINGS, "key_init": key_init}),)))
    expected = train(Plain(folder, family), session.seed, key_init)
    for name, plain in zip(("keys", "values", "gate"), expected, strict=False):
        (found,) = (tensor for part, tensor in patch.tensors.items() if part.endswith(f".{name}"))
        assert float((found - plain).norm() / plain.norm()) < 2e-3, name
    assert float(expected[1].norm()) > 0
