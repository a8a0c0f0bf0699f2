"""The class of methods that write many facts at once into several MLP layers. Light: no torch."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable
from editcore_keyvalue.decoder_only import require_decoder
from editcore_keyvalue.hparams import SpreadHparams, layers_by_depth


class SpreadMethod(EditMethod):
    """Location, presets and state; a method adds its name, hyper-parameters and `compute_update`.

    The state is the keys of earlier edits of the method by layer, see `history`.
    """

    capabilities = frozenset({"batch", "sequential"})
    Hparams: ClassVar[type] = SpreadHparams
    presets: ClassVar[str]
    """Package that holds the presets."""
    most_layers: ClassVar[int] = 5
    """The number of layers edited in a model without a preset."""

    @staticmethod
    def space(model: Mapping[str, Any]) -> Tunable | None:
        """The search space of `editcore tune` on a model of these facts; None: no search."""
        return None

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore.authoring.settings import matching_preset

        return dict(matching_preset(cls.presets, model).get("hparams", {}))

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        return None if model.get("encoder_decoder") else cls.space(model)

    @classmethod
    def make_ready(cls, session: Session, hparams: Sequence[Any]) -> None:
        require_decoder(session, cls.name)
        from editcore_keyvalue.store import collect

        collect(session, [(each, each.layers) for each in hparams])

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        require_decoder(session, self.name)
        layers = self.hparams.layers or layers_by_depth(session.anatomy.n_layers, self.most_layers)
        return Location(tuple(Site("mlp_out", layer) for layer in layers))

    def fold(self, increments: Sequence[Mapping[str, Any]]) -> Any:
        from editcore_keyvalue.history import all_keys

        return all_keys(increments)
