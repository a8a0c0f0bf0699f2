"""Kinds of patches beside weights: a class owns all that a host wants to do with one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import frozen

from editcore_hooks.plugins import Architecture, Named
from editcore_hooks.values import Patch, Site, Tensor

if TYPE_CHECKING:
    from editcore_hooks.parts import Anatomy
    from editcore_hooks.session import Session


Widths = tuple[int | None, int | None]
"""Widths in and out (d_in, d_out) of the module at a site; None where any will do."""


@frozen
class CardLines:
    """Lines of a model card on a patch: one sentence on what it is, and the commands that use it."""

    what: str
    usage: tuple[str, ...]


class PatchKind(Named):
    """Owner of patches of kind `modules` or `memory`. The host asks this class and never decides by a name.

    `name` is the `kind` of its `Payload`. A payload is sealed as `patch.core["payload"]`: `kind`, `data` (JSON values)
    and `parts` (name to `dtype`, `shape`, `sha256`); its tensors are in `patch.tensors` as `payload/NAME`.
    """

    kind: ClassVar[Literal["modules", "memory"]] = "memory"
    """Kind of its patches: `modules`, which add to what the model computes, or `memory`, which is queried."""
    reads_branches: ClassVar[bool] = False
    """Whether the attached part changes each token by that token and its attention alone. The host may then read
    several texts with a common beginning as one row with a 4-D mask. Otherwise every text is a row of its own, to the
    last token, with a 2-D mask."""
    any_base: ClassVar[bool] = False
    """Whether its patches work on any model. Otherwise the host attaches them to the base of the patch alone."""
    unapplied: ClassVar[str] = "a plain load of the folder would silently go without it"
    """Why `apply` cannot write its patches into a folder; printed after a colon."""

    def attach(self, session: "Session", patch: Patch) -> Any:
        """Put the patch on and return a handle for `detach`, after which no trace may remain."""
        raise NotImplementedError

    def detach(self, session: "Session", handle: Any) -> None:
        """Take off what `attach` put on."""
        raise NotImplementedError

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> str | None:
        """The fault of a patch as a clause ("its keys are not (n, d)"), or None.

        Called when a patch is sealed and whenever one is read. `tensors` is None while only the manifest was read; do
        not import torch then. What the host checks for every patch, hashes and declared shapes, holds already.
        """
        return None

    def places(self, patch: Patch, anatomy: "Anatomy") -> Mapping[Site, Widths]:
        """The sites where a patch reads or acts, each with the widths that the model must have there.

        Reads `patch.core` only; the model of `anatomy` may be without weights. The host refuses a patch whose sites are
        not in the model before it attaches it, and before it writes it beside the weights of a folder.
        """
        return {}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        """JSON values by name for `inspect`; reads `patch.core` only."""
        return {}

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        """Differences between two patches of this kind beyond their manifests: JSON values of both, by name."""
        one, two = self.describe(a), self.describe(b)
        names = dict.fromkeys([*one, *two])
        return {name: (one.get(name), two.get(name)) for name in names if one.get(name) != two.get(name)}

    def fold(
        self, folder: Path, patches: Sequence[Patch], architectures: Sequence[type[Architecture]]
    ) -> Mapping[str, Any]:
        """Write patches into the checkpoint in `folder`, a copy that is not visible yet; return JSON values on it.

        The folder must then load with plain `from_pretrained`, as a new base model. Override it if the kind can fold.
        """
        raise NotImplementedError

    @classmethod
    def folds(cls) -> bool:
        """Whether patches of this kind can be folded into a checkpoint."""
        return cls.fold is not PatchKind.fold

    def taken_back(self, patch: Patch) -> str:
        """What a revert of the patch takes back, as a clause that `revert` prints first.

        Say which edits go only together, and what residue stays. By default: all of them, exactly.
        """
        n = len(patch.about.get("requests") or ())
        edits = f"its {n} edits go together" if n > 1 else "its edit goes"
        return f"{edits}; the others answer as if it had never been attached"

    def card(self, patch: Patch, file_name: str) -> CardLines:
        """Lines of the model card; reads `patch.core` only."""
        what = "An addition to a language model, as a patch that leaves its weights as they are."
        return CardLines(what, (f"editcore generate BASE --patch {file_name} --prompt TEXT   # in memory",))


class MemoryKind(PatchKind):
    """A kind whose patches are memories of the host's runtime: implement `memory`.

    The runtime decides for each row once, on the prompt, and holds the decision for the whole generation. See
    `editcore.authoring.memories.Memory`.
    """

    carried: ClassVar[str] = "A memory beside a language model, as a patch."
    """Sentences on what its patches are, for the model card."""

    def memory(self, session: "Session", patch: Patch) -> Any:
        """The `Memory` of a patch. Called whenever the patch is attached."""
        raise NotImplementedError

    def attach(self, session: "Session", patch: Patch) -> Any:
        session.live.memories.put(patch.patch_id, self.memory(session, patch))
        return patch.patch_id

    def detach(self, session: "Session", handle: Any) -> None:
        session.live.memories.take(handle)

    def card(self, patch: Patch, file_name: str) -> CardLines:
        return CardLines(
            f"{self.carried} The weights stay as they are.",
            (
                f"editcore generate BASE --patch {file_name} --prompt TEXT   # in memory",
                f"editcore apply {file_name} --model FOLDER --runtime        # for editcore.load, chat and serve",
            ),
        )
