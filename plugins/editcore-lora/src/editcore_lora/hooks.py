"""The entry module: light, no torch and no peft; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable, Update, hookimpl
from editcore_lora.hparams import AdaLoraHparams, LoraHparams, layers_by_depth
from editcore_lora.space import space

EDITCORE_API = ">=1.0,<2"


class Lora(EditMethod):
    """A fresh adapter for each update, trained on the target tokens beside the model with its patches on."""

    name = "lora"
    summary = "a low-rank adapter trained on the target tokens"
    paper = "Hu et al. 2022, arXiv:2106.09685"
    Hparams: ClassVar[type] = LoraHparams
    capabilities = frozenset({"batch", "encoder-decoder"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore.authoring.settings import matching_preset

        return dict(matching_preset("editcore_lora.presets", model).get(cls.name, {}))

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return space(model)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layers = self.hparams.layers or layers_by_depth(session.anatomy.n_layers)
        return Location(tuple(Site(role, layer) for layer in layers for role in self.hparams.roles), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_lora.method import compute

        return compute(session, requests, location, self.hparams)


class AdaLora(Lora):
    """The same with singular values of which the least important are pruned while it is trained."""

    name = "adalora"
    summary = "a low-rank adapter that spends its rank where it matters"
    paper = "Zhang et al. 2023, arXiv:2303.10512"
    Hparams = AdaLoraHparams


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Lora, AdaLora]
