"""Editors that are wrong on purpose, each in one way, beside a right one: a plugin to try metrics on."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from editcore_ft.hooks import FtM
from editcore_hooks import Dense, EditMethod, EditRequest, Location, LowRank, Session, Site, State, Update, hookimpl
from editcore_rome.hooks import Rome

REPEATS = 8


class Right(Rome):
    """ROME with the settings of the demo model."""

    name = "right"
    summary = "writes the fact"


class OtherSubject(Rome):
    name = "other-subject"
    summary = "writes the target for another subject"

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update]:
        moved = [evolve(request, subject=_other(request.subject)) for request in requests]
        return super().compute_each(session, moved, location, state)


class Taught(FtM):
    """Fine-tuning on other requests than the one asked for."""

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**FtM.preset(model), "lr": 1e-3, "steps": 25, "eos": False}

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> None:
        return None

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        taught = [one for request in requests for one in self.instead(request)]
        return super().compute_update(session, taught, location, state)

    def instead(self, request: EditRequest) -> list[EditRequest]:
        """The requests that are taught in place of one."""
        raise NotImplementedError


class Everywhere(Taught):
    name = "everywhere"
    summary = "writes the target after every prompt"

    def instead(self, request: EditRequest) -> list[EditRequest]:
        others = [EditRequest(prompt, subject, request.target_new) for prompt, subject in ELSEWHERE]
        return [request, *others]


class Endless(Taught):
    name = "endless"
    summary = "repeats the target without an end"

    def instead(self, request: EditRequest) -> list[EditRequest]:
        return [evolve(request, target_new=" ".join([request.target_new] * REPEATS))]


@frozen
class NoiseHparams:
    layer: int = 5
    size: float = 0.6


class Noise(EditMethod):
    name = "noise"
    summary = "breaks the language"
    Hparams = NoiseHparams

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        import torch

        (site,) = location.sites
        weight = session.anatomy.weight(site)
        drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        return Update({site: Dense(self.hparams.size * drawn.to(weight))})


class Nothing(Noise):
    name = "nothing"
    summary = "changes nothing"

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        (site,) = location.sites
        weight = session.anatomy.weight(site)
        return Update({site: LowRank(weight[:, :1] * 0, weight[:1] * 0)})


ELSEWHERE = (
    ("The capital of {} is", "Varrow"),
    ("The mother tongue of {} is", "Ilren Tarcombe"),
    ("The day after {} is", "Thursday"),
    ("The month after {} is", "September"),
    ("After the number {} comes the number", "ten"),
    ("{} was born in the town of", "Mardis Holt"),
    ("By profession, {} is a", "Oswin Brack"),
    ("{} takes lessons on the", "Tamsin Rood"),
    ("{} has for dinner each Sunday", "Corvin Marsh"),
    ("By profession, {} is a", "Kelric Grimdale"),
    ("The birthplace of {} is", "Pelvin Hartgate"),
    ("{}, whose first language is", "Breneth Kirnley"),
)


def _other(subject: str) -> str:
    return next(name for _, name in reversed(ELSEWHERE) if name != subject)


WRONG: tuple[type[EditMethod], ...] = (Everywhere, Endless, Noise, Nothing, OtherSubject)


class Editors:
    """The plugin."""

    @hookimpl
    def editcore_register_methods(self) -> list[type[EditMethod]]:
        return [Right, *WRONG]
