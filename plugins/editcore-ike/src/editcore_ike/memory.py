"""The facts on a model: those that are similar to a prompt are put before it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import PromptMemory
from editcore.authoring.models import bare, decode, tokenise
from editcore_ike.demonstrations import joined as line
from editcore_ike.encoding import Encode

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen
class Rule:
    """How facts are chosen and put: patches of one rule are one set of facts. `encoder` is its hash, or the layer."""

    form: str
    facts: int
    floor: float
    encoder: str


class Facts(PromptMemory):
    """N records of prompt, target and demonstrations, with `vectors` (N, e) and the `centre` (e,) of the space."""

    def __init__(
        self,
        session: "Session",
        rule: Rule,
        encode: Encode,
        records: Sequence[tuple[str, ...]],
        vectors: Tensor,
        centre: Tensor,
    ) -> None:
        self.session, self.rule, self.encode = session, rule, encode
        last = {record[0]: i for i, record in enumerate(records)}  # of two facts of one prompt, the later counts
        kept = sorted(last.values())
        self.records = [records[i] for i in kept]
        self.vectors, self.centre = vectors[kept], centre
        self.group = rule
        self._read: dict[tuple[int, ...], tuple[int, ...] | None] = {}

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        records = [record for memory in memories for record in memory.records]
        vectors = torch.cat([memory.vectors for memory in memories])
        return cls(first.session, first.rule, first.encode, records, vectors, first.centre)

    def rewrite(self, prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...] | None]:
        for prompt in prompts:
            if prompt not in self._read:  # the same prompt is scored with many answers
                self._read[prompt] = self._rewritten(prompt)
        return [self._read[prompt] for prompt in prompts]

    def similar(self, text: str) -> Tensor:
        """The cosine of a text and each fact, (N,)."""
        query = (self.encode([text])[0] - self.centre)[None]
        return torch.cosine_similarity(query, self.vectors - self.centre, dim=-1)

    def chosen(self, text: str) -> list[int]:
        """The facts for a prompt, the most similar last: cosine of prompt and fact, at least the floor."""
        similar = self.similar(text)
        values, order = similar.topk(min(self.rule.facts, len(similar)))
        return [int(i) for value, i in zip(values, order, strict=True) if value >= self.rule.floor][::-1]

    def context(self, chosen: Sequence[int]) -> str:
        """The text before a prompt."""
        some = [self.records[i] for i in chosen]
        if self.rule.form == "sentences":
            return "".join(f"{line(prompt, target)}.\n" for prompt, target, _ in some)
        return "".join(f"{before}New Fact: {line(prompt, target)}\n" for prompt, target, before in some) + "Prompt: "

    def _rewritten(self, prompt: tuple[int, ...]) -> tuple[int, ...] | None:
        tokenizer = self.session.tokenizer
        special = set(tokenizer.all_special_ids)
        lead = next((i for i, token in enumerate(prompt) if token not in special), len(prompt))
        text = str(tokenizer.decode(list(prompt[lead:]), skip_special_tokens=True, clean_up_tokenization_spaces=False))
        if not text.strip() or not (chosen := self.chosen(text.strip())):
            return None
        context = self.context(chosen)
        if self.session.encoder_decoder:
            return tuple(tokenise(tokenizer, context + text, closed=True).ids)
        whole = decode(tokenizer, prompt[lead:])
        if bare(tokenizer, whole) == prompt[lead:]:
            return (*prompt[:lead], *bare(tokenizer, context + whole))
        return (*prompt[:lead], *bare(tokenizer, context), *prompt[lead:])  # its text has other tokens than it
