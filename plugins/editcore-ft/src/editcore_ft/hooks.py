"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_ft.hparams import FtHparams, FtLHparams, FtMHparams, FtTHparams, LocftHparams
from editcore_ft.place import located
from editcore_ft.presets import default_layers, find_preset
from editcore_ft.space import space
from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Tunable, Update, hookimpl

EDITCORE_API = ">=1.0,<2"


class Ft(EditMethod):
    """Fine-tuning as ROME's authors compared with: all target tokens at the last prompt token, unconstrained."""

    name = "ft"
    summary = "fine-tuning of one matrix, unconstrained"
    paper = "Meng et al. 2022, arXiv:2202.05262"
    Hparams: ClassVar[type] = FtHparams
    capabilities = frozenset({"batch", "encoder-decoder"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model, cls.name)

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return space(model, cls.name)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return located(session, self.hparams, default_layers(session.traits()))

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_ft.method import compute_update

        return compute_update(session, requests, location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update] | None:
        from editcore_ft.method import compute_each

        return compute_each(session, requests, location, self.hparams)


class FtL(Ft):
    """The same inside an L∞ ball around the weights."""

    name = "ft-l"
    summary = "fine-tuning of one matrix inside a small box"
    paper = "Zhu et al. 2020, arXiv:2012.00363; Meng et al. 2022, arXiv:2202.05262"
    Hparams = FtLHparams


class FtM(Ft):
    """Each target token predicted from all before it, and only target tokens scored."""

    name = "ft-m"
    summary = "fine-tuning of one matrix on the target tokens, teacher-forced"
    paper = "Zhang et al. 2024, arXiv:2401.01286"
    Hparams = FtMHparams


class FtT(Ft):
    """The loss of plain language modelling, over the prompt too."""

    name = "ft-t"
    summary = "fine-tuning of one matrix on prompt and target"
    paper = ""
    Hparams = FtTHparams
    capabilities = frozenset({"batch"})  # an encoder reads the prompt and gives no loss on it


class Locft(Ft):
    """Epochs over all requests in large batches, on one matrix or block that suits the model."""

    name = "locft"
    summary = "breadth-first fine-tuning of one well-chosen matrix, for many facts at once"
    paper = "arXiv:2509.22072"
    Hparams = LocftHparams


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Ft, FtL, FtM, FtT, Locft]
