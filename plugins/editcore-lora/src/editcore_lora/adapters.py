"""Fresh adapters of the peft library in place of the modules at some sites, for the length of a `with` block.

Afterwards every module stands where it stood. peft marks all weights as fixed, and writes its configuration into the
model: both are undone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import define, field
from torch import Tensor, nn

from editcore.authoring.models import Item, TargetLogits, cached_logits
from editcore_hooks import LowRank, Site, UsageError
from editcore_lora.hparams import AdaLoraHparams, LoraHparams

if TYPE_CHECKING:
    from editcore_hooks import Session

NAME: Final = "edit"


@define(eq=False)
class Adapters:
    """The layers of peft by site, and the model run with them."""

    anatomy: Any
    tuner: Any
    layers: Mapping[Site, Any]
    hparams: LoraHparams
    _kept: dict[tuple[Item, ...], Callable[[], TargetLogits]] = field(factory=dict, init=False, repr=False)

    @property
    def leaves(self) -> list[nn.Parameter]:
        """What is trained."""
        return [each for layer in self.layers.values() for each in layer.parameters() if each.requires_grad]

    def logits(self, items: Sequence[Item], owners: Sequence[int] = ()) -> TargetLogits:
        """`target_logits` of the model with the adapters; what lies below them is kept for the next call."""
        key = tuple(items)
        if key not in self._kept:
            self._kept[key] = cached_logits(self.anatomy, items, list(self.layers))
        return self._kept[key]()

    def train_(self, on: bool) -> None:
        """Switch dropout on or off."""
        for layer in self.layers.values():
            layer.lora_dropout[NAME].train(on)

    def penalty(self) -> Tensor | float:
        """γ times the mean of ‖PᵀP − I‖ and ‖QQᵀ − I‖ over all P and Q (Frobenius); nothing for LoRA."""
        if not isinstance(self.hparams, AdaLoraHparams):
            return 0.0
        grams = [
            gram
            for layer in self.layers.values()
            for gram in (layer.lora_B[NAME].T @ layer.lora_B[NAME], layer.lora_A[NAME] @ layer.lora_A[NAME].T)
        ]
        norms = [torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)) for gram in grams]
        return self.hparams.orthogonality * torch.stack(norms).mean()

    def allocate(self, step: int) -> None:
        """Let AdaLoRA prune after update number `step`, from 1; called after every update, with its gradients."""
        if isinstance(self.hparams, AdaLoraHparams):
            self.tuner.update_and_allocate(step)

    def factors(self, site: Site) -> LowRank:
        """The change as factors, canonical, float32: scale folded in, and what was pruned left out."""
        layer = self.layers[site]
        scale = float(layer.scaling[NAME])
        if not isinstance(self.hparams, AdaLoraHparams):
            return LowRank(_own(layer.lora_B[NAME].weight * scale), _own(layer.lora_A[NAME].weight))
        values = layer.lora_E[NAME][:, 0]  # (r₀,)
        left = values.nonzero()[:, 0] if values.any() else torch.arange(1, device=values.device)
        scale /= float(layer.ranknum[NAME]) + 1e-5  # as peft does
        return LowRank(_own(layer.lora_B[NAME][:, left] * values[left] * scale), _own(layer.lora_A[NAME][left]))


def _own(factor: Tensor) -> Tensor:
    return factor.detach().float().clone()


@contextmanager
def adapted(session: "Session", sites: Sequence[Site], hparams: LoraHparams, updates: int) -> Iterator[Adapters]:
    """Put fresh adapters on `sites`, for at most so many updates. Raises `UsageError` for what peft cannot adapt.

    Their random values are those of the session's seed, and so is their dropout.
    """
    model, anatomy = session.model, session.anatomy
    for site in sites:
        anatomy.parameter(site)  # refuses what is no weight, or is not there
    paths = {site: anatomy.path(site) for site in sites}
    before = {site: anatomy.module(site) for site in sites}
    attributes, needed = set(vars(model)), [each.requires_grad for each in model.parameters()]
    devices = [session.device] if session.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(session.seed)
        try:
            tuner = _tuner(session, paths, before, hparams, updates)
            yield Adapters(anatomy, tuner, {site: anatomy.module(site) for site in sites}, hparams)
        finally:
            for site, module in before.items():
                parent, _, name = paths[site].rpartition(".")
                setattr(model.get_submodule(parent), name, module)
            for added in set(vars(model)) - attributes:
                delattr(model, added)
            for parameter, need in zip(model.parameters(), needed, strict=True):
                parameter.requires_grad_(need)


def _tuner(
    session: "Session", paths: Mapping[Site, str], modules: Mapping[Site, Any], hparams: LoraHparams, updates: int
) -> Any:
    from peft import AdaLoraConfig, AdaLoraModel, LoraConfig, LoraModel
    from transformers.pytorch_utils import Conv1D

    shared: dict[str, Any] = {
        "target_modules": list(paths.values()),
        "lora_alpha": hparams.alpha,
        "lora_dropout": hparams.dropout,
        "fan_in_fan_out": any(isinstance(module, Conv1D) for module in modules.values()),
    }
    try:
        if not isinstance(hparams, AdaLoraHparams):
            return LoraModel(session.model, LoraConfig(r=hparams.rank, **shared), NAME)
        build: Any = AdaLoraModel
        config = AdaLoraConfig(
            init_r=hparams.initial_rank,
            target_r=hparams.rank,
            tinit=int(hparams.warmup * updates),
            tfinal=int(hparams.final * updates),
            total_step=updates,
            orth_reg_weight=hparams.orthogonality,
            **shared,
        )
        return build(session.model, config, NAME)
    except ValueError as error:
        kinds = sorted({type(module).__name__ for module in modules.values()})
        reason = str(error).splitlines()[0][:200]
        raise UsageError(
            f"peft has no adapter for these modules ({', '.join(kinds)}): {reason}", hint="choose other layers or roles"
        ) from error
