"""How the nets learn: L = c_e L_h + L_g, two losses that share no parameter. Mitchell et al. 2022, section 3.2.

L_h  the loss of the target under the counterfactual model, given the right edit, and of what the base says after it
L_g  the mean of −log g over edits and their own prompts, and the mean of −log(1 − g) over edits and other prompts
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from editcore.authoring.models import Item, target_logits
from editcore.authoring.training import Better
from editcore_hooks import Case
from editcore_serac.hparams import SeracHparams
from editcore_serac.memory import Counterfactual, Entry
from editcore_serac.nets import Nets, squared
from editcore_serac.reading import Places, Read, entry, portions, read, read_prompts
from editcore_serac.texts import Ids, Texts, texts

if TYPE_CHECKING:
    from editcore_hooks import Session

OWNER: Final = "editcore-serac"
METHOD: Final = "serac"
STATISTICS: Final = 512
"""Most cases that the statistics of the features are taken from."""
IN_SCOPE: Final = 0.6931471805599453
"""Squared distance ln 2, where g is 0.5."""


@define(eq=False)
class SeracLearner:
    """The nets of SERAC for the session's model."""

    session: "Session"
    hparams: SeracHparams
    where: Places
    owner: str = OWNER
    method: str = METHOD
    nets: Nets = field(init=False)
    _texts: dict[Any, Texts] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        h, model = self.hparams, self.session.model
        d = model.get_output_embeddings().weight.shape[1]
        self.nets = Nets(d, h.width, h.rank, self.session.seed).to(self.session.device)

    @property
    def figures(self) -> Mapping[str, Better]:
        return {"loss": "lower", "edit": "higher", "rephrase": "higher", "local": "higher"}

    def module(self) -> nn.Module:
        return self.nets

    def settings(self) -> Mapping[str, Any]:
        h = self.hparams
        return {
            "d": self.nets.query.shape[0],
            "layer": self.where.reads.layer,
            "width": h.width,
            "rank": h.rank,
            "lr": h.lr,
            "c_edit": h.c_edit,
        }

    def prepare(self, cases: Sequence[Case]) -> None:
        found = self.read([self.of(case).edit for case in cases[:STATISTICS]])
        self.nets.collect(stacked(found), torch.cat([one.states for one in found]))

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.nets.parameters(), lr=self.hparams.lr)

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        every = [self.of(case) for case in cases]
        outer = [rng.choice(one.outer) if one.outer else one.edit for one in every]
        drawn = [(i, rng.choice(facet)) for i, one in enumerate(every) for facet in one.own]
        # nothing is kept for later steps: a resumed training reads the same texts in the same portions
        found = self.read([*(one.edit for one in every), *outer])
        own, told = found[: len(every)], found[len(every) :]
        given = self.entries(every, own)
        edit = self.answers(given, outer, told)[0].mean()
        scope = self.scope_loss(cases, given, stacked(told), drawn)
        (share * (self.hparams.c_edit * edit + scope)).backward()  # type: ignore[no-untyped-call]
        return {"edit loss": float(edit.detach()), "scope loss": float(scope.detach())}

    def answers(self, given: Sequence[Entry], items: Sequence[Item], told: Sequence[Read]) -> tuple[Tensor, Tensor]:
        """L_h of prompts with their edits, and whether each says its target.

        A loss for every token of a target and for the base's own next token, (m,), and n answers, (n,) bool.
        """
        every = [(prompt, (*target, one.after)) for (prompt, target), one in zip(items, told, strict=True)]
        memory = Counterfactual(self.where.reads, self.where.acts, self.nets.query, given)
        with self.session.live.memories.trying(memory):
            found = target_logits(self.session.model, every)
        wrong = found.logits.argmax(-1) != found.labels
        wrong[torch.tensor([len(target) for _, target in every]).cumsum(0) - 1] = False  # what follows is no answer
        right = torch.bincount(found.item[wrong], minlength=len(items)) == 0
        return cross_entropy(found.logits.float(), found.labels, reduction="none"), right

    def scope_loss(
        self, cases: Sequence[Case], given: Sequence[Entry], outer: Tensor, drawn: Sequence[tuple[int, Ids]]
    ) -> Tensor:
        """L_g: prompts of edits by their features `outer` (n, 2d), those of other facts of the portion, and probes.

        `drawn` are prompts that an edit leaves alone, with the number of that edit.
        """
        vectors = torch.stack([one.vector for one in given])  # (n, p)
        found = squared(self.nets.encode(outer), vectors)  # (n, n)
        facts = [(case.request.subject, case.request.target_true) for case in cases]
        other = torch.tensor([[one != two for two in facts] for one in facts], device=found.device)
        apart = [found[other]]
        if drawn:
            apart.append(squared(self.encoded(drawn), vectors)[range(len(drawn)), [i for i, _ in drawn]])
        return scope_loss(found.diagonal(), torch.cat(apart))

    def entries(self, every: Sequence[Texts], found: Sequence[Read]) -> list[Entry]:
        """The memory of the cases, with gradients to the nets."""
        pairs = zip(every, found, strict=True)
        return [entry(self.session, self.nets, "", read, one.edit[1]) for one, read in pairs]

    def encoded(self, drawn: Sequence[tuple[int, Ids]]) -> Tensor:
        """Vectors of prompts, (n, p)."""
        return self.nets.encode(read_prompts(self.session, [prompt for _, prompt in drawn], self.where))

    def read(self, items: Sequence[Item]) -> list[Read]:
        """What the base makes of texts."""
        return read(self.session, items, self.where)

    def of(self, case: Case) -> Texts:
        """The texts of a case, tokenised once."""
        if case.request not in self._texts:
            self._texts[case.request] = texts(self.session, case)
        return self._texts[case.request]

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """All cases are in memory together; the scope decides as it does after an edit."""
        every = [self.of(case) for case in cases]
        own = self.read([one.edit for one in every])
        given = self.entries(every, own)
        vectors = torch.stack([one.vector for one in given])
        asked = [(i, item) for i, one in enumerate(every) for item in one.outer]
        told = self.read([item for _, item in asked])
        edit, losses = self.shown(given, vectors, [(i, one.edit) for i, one in enumerate(every)], own)
        rephrase, more = self.shown(given, vectors, asked, told)
        local: list[float] = []
        drawn = [(i, facet[0]) for i, one in enumerate(every) for facet in one.own]
        if drawn:
            local = (squared(self.encoded(drawn), vectors).min(1)[0] >= IN_SCOPE).float().tolist()
        first = {i: one for (i, _), one in zip(reversed(asked), reversed(told), strict=True)}
        outer = stacked([first.get(i, one) for i, one in enumerate(own)])
        scope = float(self.scope_loss(cases, given, outer, drawn))
        figures = {"edit": edit, "rephrase": rephrase, "local": local}
        shares = {name: sum(some) / len(some) if some else 1.0 for name, some in figures.items()}
        losses += more
        return {"loss": self.hparams.c_edit * sum(losses) / len(losses) + scope, **shares}

    def shown(
        self, given: Sequence[Entry], vectors: Tensor, asked: Sequence[tuple[int, Item]], told: Sequence[Read]
    ) -> tuple[list[float], list[float]]:
        """Of prompts with the numbers of their edits: whether that edit is found and answers right, and the losses."""
        said, losses = [0.0] * len(asked), []
        for some in portions([len(prompt) + len(target) for _, (prompt, target) in asked]):
            read = [told[k] for k in some]
            loss, right = self.answers([given[asked[k][0]] for k in some], [asked[k][1] for k in some], read)
            near, at = squared(self.nets.encode(stacked(read)), vectors).min(1)
            own = torch.tensor([asked[k][0] for k in some], device=at.device)
            for k, hit in zip(some, ((near < IN_SCOPE) & (at == own) & right).tolist(), strict=True):
                said[k] = float(hit)
            losses += loss.tolist()
        return said, losses

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """Nothing has to follow a step."""


def stacked(found: Sequence[Read]) -> Tensor:
    """Features of texts, (n, 2d)."""
    return torch.stack([one.features for one in found])


def scope_loss(own: Tensor, other: Tensor) -> Tensor:
    """L_g of squared distances: mean of −log g = ‖·‖² where an edit applies, of −log(1 − g) where it does not."""
    loss = own.mean()
    if len(other):
        loss = loss - torch.log(-torch.expm1(-(other + 1e-6))).mean()
    return loss
