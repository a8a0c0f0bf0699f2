"""Kinds of patches beside weights: a class owns all that a host wants to do with one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import frozen

from editcore_hooks.plugins import Architecture, Named
from editcore_hooks.values import Patch, Tensor

if TYPE_CHECKING:
    from editcore_hooks.session import Session


@frozen
class CardLines:
    """What a model card says of a patch: one sentence on what it is, and the commands that use it."""

    what: str
    usage: tuple[str, ...]


class PatchKind(Named):
    """Owner of patches of kind `modules` or `memory`: the host asks it, and never a kind by its name.

    `name` is the `kind` of its `Payload`. A payload is sealed as `patch.core["payload"]`: `kind`, `data` (JSON values)
    and `parts` (name to `dtype`, `shape`, `sha256`); its tensors are in `patch.tensors` as `payload/NAME`.
    """

    kind: ClassVar[Literal["modules", "memory"]] = "memory"
    """What its patches are sealed as: `modules`, which add to what the model computes, or `memory`, which is asked."""
    reads_branches: ClassVar[bool] = False
    """Whether what is attached acts on each token from that token and its attention alone, so that the host may read
    several texts that begin alike as one row with a 4-D mask. Otherwise every text is a row of its own, to the last
    token, with a 2-D mask."""
    unapplied: ClassVar[str] = "a plain load of the folder would silently go without it"
    """Why `apply` cannot write its patches into a folder, after a colon."""

    def attach(self, session: "Session", patch: Patch) -> Any:
        """Put the patch on; returns a handle for `detach`. What is attached must leave no trace once detached."""
        raise NotImplementedError

    def detach(self, session: "Session", handle: Any) -> None:
        """Take off what `attach` put on."""
        raise NotImplementedError

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> str | None:
        """What is wrong with a patch, as a clause ("its keys are not (n, d)"); None when nothing is.

        Called when a patch is sealed and whenever one is read. `tensors` is None while only the manifest was read; do
        not import torch then. What the host checks for every patch, hashes and declared shapes, holds already.
        """
        return None

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        """JSON values by name for `inspect`; reads `patch.core` only."""
        return {}

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        """What differs between two patches of this kind beside their manifests: JSON values of both, by name."""
        one, two = self.describe(a), self.describe(b)
        names = dict.fromkeys([*one, *two])
        return {name: (one.get(name), two.get(name)) for name in names if one.get(name) != two.get(name)}

    def fold(
        self, folder: Path, patches: Sequence[Patch], architectures: Sequence[type[Architecture]]
    ) -> Mapping[str, Any]:
        """Write patches into the checkpoint in `folder`, a copy that nobody sees yet; returns JSON values that say how.

        The folder must then load with plain `from_pretrained`, as a new base model. Override it where a kind can.
        """
        raise NotImplementedError

    @classmethod
    def folds(cls) -> bool:
        """Whether patches of this kind can be folded into a checkpoint."""
        return cls.fold is not PatchKind.fold

    def card(self, patch: Patch, file_name: str) -> CardLines:
        """What a model card says; reads `patch.core` only."""
        what = "An addition to a language model, as a patch that leaves its weights as they are."
        return CardLines(what, (f"editcore generate BASE --patch {file_name} --prompt TEXT   # in memory",))
