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
from editcore_serac.reading import Places, Read, entry, read
from editcore_serac.texts import Texts, texts

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
    _read: dict[Item, Read] = field(factory=dict, init=False, repr=False)

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
        found = [self.read(self.of(case).edit) for case in cases[:STATISTICS]]
        self.nets.collect(torch.stack([one.features for one in found]), torch.cat([one.states for one in found]))

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.nets.parameters(), lr=self.hparams.lr)

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        every = [self.of(case) for case in cases]
        outer = [rng.choice(one.outer) if one.outer else one.edit for one in every]
        drawn = [(i, rng.choice(facet)) for i, one in enumerate(every) for facet in one.own]
        owners, others = [i for i, _ in drawn], [item for _, item in drawn]
        given = self.entries(cases)
        edit = self.loss(given, outer)
        scope = self.scope_loss(cases, given, outer, others, owners)
        (share * (self.hparams.c_edit * edit + scope)).backward()  # type: ignore[no-untyped-call]
        return {"edit loss": float(edit.detach()), "scope loss": float(scope.detach())}

    def loss(self, given: Sequence[Entry], outer: Sequence[Item]) -> Tensor:
        """L_h of prompts with their edits: the target, then the base's own next token."""
        items = [(prompt, (*target, self.read((prompt, target)).after)) for prompt, target in outer]
        memory = Counterfactual(self.where.reads, self.where.acts, self.nets.query, given)
        with self.session.live.memories.trying(memory), torch.enable_grad():
            found = target_logits(self.session.model, items)
            return cross_entropy(found.logits.float(), found.labels)

    def scope_loss(
        self,
        cases: Sequence[Case],
        given: Sequence[Entry],
        outer: Sequence[Item],
        others: Sequence[Item],
        owners: Sequence[int],
    ) -> Tensor:
        """L_g: prompts that belong to edits, those of other facts of the portion, and probes of the edits' `owners`."""
        vectors = torch.stack([one.vector for one in given])  # (n, p)
        found = squared(self.encoded(outer), vectors)  # (n, n)
        facts = [(case.request.subject, case.request.target_true) for case in cases]
        other = torch.tensor([[one != two for two in facts] for one in facts], device=found.device)
        apart = [found[other]]
        if others:
            apart.append(squared(self.encoded(others), vectors)[range(len(others)), list(owners)])
        return scope_loss(found.diagonal(), torch.cat(apart))

    def entries(self, cases: Sequence[Case]) -> list[Entry]:
        """The memory of the cases, with gradients to the nets."""
        edits = [self.of(case).edit for case in cases]
        return [entry(self.session, self.nets, "", self.read(edit), edit[1]) for edit in edits]

    def encoded(self, items: Sequence[Item]) -> Tensor:
        """Vectors of prompts, (n, p)."""
        return self.nets.encode(torch.stack([self.read(item).features for item in items]))

    def of(self, case: Case) -> Texts:
        """The texts of a case, tokenised once."""
        if case.request not in self._texts:
            self._texts[case.request] = texts(self.session, case)
        return self._texts[case.request]

    def read(self, item: Item) -> Read:
        """What the base makes of a text, computed once."""
        key = (tuple(item[0]), tuple(item[1]))
        if key not in self._read:
            self._read[key] = read(self.session, item, self.where)
        return self._read[key]

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """All cases are in memory together; the scope decides as it does after an edit."""
        given, every = self.entries(cases), [self.of(case) for case in cases]
        vectors = torch.stack([one.vector for one in given])
        found: dict[str, list[float]] = {"edit": [], "rephrase": [], "local": []}
        losses = []
        for i, one in enumerate(every):
            for name, items in (("edit", [one.edit]), ("rephrase", one.outer)):
                if items:
                    near, at = squared(self.encoded(items), vectors).min(1)
                    right = self.answered(given[i], items)
                    found[name] += ((near < IN_SCOPE) & (at == i) & right).float().tolist()
                    losses.append(float(self.loss([given[i]] * len(items), items)))
        drawn = [(i, facet[0]) for i, one in enumerate(every) for facet in one.own]
        owners, others = [i for i, _ in drawn], [item for _, item in drawn]
        if others:
            found["local"] = (squared(self.encoded(others), vectors).min(1)[0] >= IN_SCOPE).float().tolist()
        outer = [one.outer[0] if one.outer else one.edit for one in every]
        scope = self.scope_loss(cases, given, outer, others, owners)
        shares = {name: sum(some) / len(some) if some else 1.0 for name, some in found.items()}
        return {"loss": self.hparams.c_edit * sum(losses) / len(losses) + float(scope), **shares}

    def answered(self, given: Entry, items: Sequence[Item]) -> Tensor:
        """Whether every token of the target is the likeliest with the edit, (n,) bool."""
        memory = Counterfactual(self.where.reads, self.where.acts, self.nets.query, [given] * len(items))
        with self.session.live.memories.trying(memory):
            found = target_logits(self.session.model, items)
        wrong = (found.logits.argmax(-1) != found.labels).long()
        return torch.bincount(found.item[wrong.bool()], minlength=len(items)) == 0

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """Nothing has to follow a step."""


def scope_loss(own: Tensor, other: Tensor) -> Tensor:
    """L_g of squared distances: mean of −log g = ‖·‖² where an edit applies, of −log(1 − g) where it does not."""
    loss = own.mean()
    if len(other):
        loss = loss - torch.log(-torch.expm1(-(other + 1e-6))).mean()
    return loss
