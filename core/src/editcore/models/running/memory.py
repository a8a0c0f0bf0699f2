"""A memory inside a model: it reads one place once a prompt, decides for each row, and acts on the rows it chose."""

from collections.abc import Hashable, Sequence
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import Site


@frozen(eq=False)
class Seen:
    """B rows of S columns at a site: `inputs` (B, S, d_in) and `outputs` (B, S, d_out) of its module.

    `prompt` (B, S) is True for tokens of the prompt; padding and the answer are False. `last` (B,) is the column of the
    prompt's last token, -1 where this pass does not hold it. With an encoder, its whole text is the prompt; for a site
    of the decoder, the prompt is the start token.
    """

    inputs: Tensor
    outputs: Tensor
    prompt: Tensor
    last: Tensor

    def at_last(self, tensor: Tensor) -> Tensor:
        """Row i of a (B, S, d) at `last[i]`, (B, d)."""
        return tensor[torch.arange(len(tensor), device=tensor.device), self.last.clamp(min=0)]

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a (B, S, d) over the tokens of each prompt, (B, d)."""
        weights = self.prompt.to(tensor.dtype)  # (B, S)
        return (weights[..., None] * tensor).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)

    def rows(self, index: Tensor) -> "Seen":
        """Some of the rows."""
        return Seen(self.inputs[index], self.outputs[index], self.prompt[index], self.last[index])


class PromptMemory:
    """What a `MemoryKind` attaches to rewrite prompts, such as facts that it puts before them.

    The latest patch that rewrites a prompt does it, and no other. It is asked once a sequence; a method that computes
    an edit inside the model sees the prompt as it was given.
    """

    group: Hashable = None
    """As that of a `Memory`."""

    def rewrite(self, prompts: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...] | None]:
        """The ids that are read in place of each prompt's, ending as the prompt does; None leaves a prompt as it is."""
        raise NotImplementedError

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        """One memory for several of a group, in the order of their patches. Needed where `group` is set."""
        raise NotImplementedError


class Memory:
    """What a `MemoryKind` attaches. Set `reads` and `acts`; implement `decide` and `act`.

    The host calls `decide` once a sequence, in the pass that holds the end of the prompt, and keeps the decision for
    the whole generation. It calls `act` at every site of `acts`, in every pass, with the rows that chose an entry.
    A row that no memory chose keeps its bits. Neither method may change a tensor in place or keep a state.
    """

    reads: Site
    """Where it decides. It runs before the sites of `acts`, or is one of them."""
    acts: tuple[Site, ...]
    """Where it may change outputs."""
    group: Hashable = None
    """Memories of one group, not None, are joined to one. It stands where the latest of them stands."""
    prompt_only: bool = False
    """Whether `act` changes tokens of the prompt alone. The host then does not call it in passes of the answer."""

    def decide(self, seen: Seen) -> Tensor:
        """The entry that each row uses, (B,) int64; -1 for none. Without gradients."""
        raise NotImplementedError

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        """The new outputs (n, S, d_out) of n rows that chose the entries `chosen` (n,), none of them -1."""
        raise NotImplementedError

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        """One memory for several of a group, in the order of their patches. Needed where `group` is set."""
        raise NotImplementedError
