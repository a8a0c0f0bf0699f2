"""The memories that are attached to one model, and the rule by which several of them compose.

At one site, the latest patch that chose an entry for a row acts on it, and the others do not. Memories at different
sites do not know of each other: the later in the model sees what the earlier one did. Memories of one group are joined
by a rule of their own, and decide together.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import torch
from attrs import define, field
from torch import Tensor

from editcore.models.running.memory import Memory, PromptMemory, Seen
from editcore.models.running.passes import Pass, Passes
from editcore.models.running.prefix_tree import keep_apart, let_share
from editcore.models.running.prompt_hooks import PromptHooks
from editcore.models.running.tracing import Place, Tap, Trace
from editcore_hooks import Anatomy, PluginError, Site

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_of: "WeakKeyDictionary[PreTrainedModel, ref[Memories]]" = WeakKeyDictionary()


@define(eq=False)
class Memories:
    """Memories by owner, the id of a patch. Hooks are on the model only while there is a memory.

    `order` gives the owners in the order in which they count, the latest last; owners that it does not name are later
    than all others.
    """

    anatomy: Anatomy
    order: Callable[[], Sequence[str]]
    _owned: dict[str, tuple[Memory | PromptMemory, ...]] = field(factory=dict)
    _trace: Trace | None = None
    _places: frozenset[Site] = frozenset()
    _passes: Passes | None = None
    _all: tuple[Memory | PromptMemory, ...] | None = None
    _numbered: tuple[tuple[int, Memory], ...] | None = None
    _prompts: PromptHooks | None = None

    def __attrs_post_init__(self) -> None:
        _of[self.anatomy.model] = ref(self)

    @property
    def sites(self) -> frozenset[Site]:
        """Where the memories read and act."""
        return self._places

    def put(self, owner: str, *memories: Memory | PromptMemory) -> None:
        """Let the memories of `owner` work from now on. Raises `UsageError` for a site that the model does not have."""
        for site in _sites(memories):
            self.anatomy.module(site)
        self._owned[owner] = memories
        keep_apart(self.anatomy.model, owner)
        self._renew()

    def take(self, owner: str) -> None:
        """Take those of `owner` off, in any order."""
        del self._owned[owner]
        let_share(self.anatomy.model, owner)
        self._renew()

    @contextmanager
    def trying(self, *memories: Memory | PromptMemory) -> Iterator[None]:
        """In the body, these memories too, as the latest: for methods that train one."""
        self.put("", *memories)
        try:
            yield
        finally:
            self.take("")

    def _renew(self) -> None:
        """Hooks are renewed only where sites came or went: a thousand patches at one site have one."""
        self._all = self._numbered = None
        owned = [memory for memories in self._owned.values() for memory in memories]
        rewrites = any(isinstance(memory, PromptMemory) for memory in owned)
        if rewrites and self._prompts is None:
            self._prompts = PromptHooks(self.anatomy.model, self._rewritten)
            self._prompts.on()
        if not rewrites and self._prompts is not None:
            self._prompts.off()
            self._prompts = None
        places = _sites(owned)
        if self._passes is not None:
            self._passes.forget()
        if places == self._places:
            return
        if self._trace is not None:
            self._trace.__exit__(None, None, None)
            self._trace = None
        if places and self._passes is None:
            self._passes = Passes(self.anatomy.model)
            self._passes.on()
        if not places and self._passes is not None:
            self._passes.off()
            self._passes = None
        self._places = places
        if places:
            taps: dict[Place, Tap] = {site: Tap(mix=partial(self._at, site)) for site in places}
            self._trace = Trace(self.anatomy, taps).__enter__()

    def _rewritten(self, prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Each prompt as the latest memory that rewrites it does."""
        found: dict[int, tuple[int, ...]] = {}
        for memory in reversed(self._ordered()):
            left = [i for i in range(len(prompts)) if i not in found]
            if isinstance(memory, PromptMemory) and left:
                new = memory.rewrite([prompts[i] for i in left])
                found |= {i: tuple(row) for i, row in zip(left, new, strict=True) if row is not None}
        return [found.get(i, prompt) for i, prompt in enumerate(prompts)]

    def _ordered(self) -> tuple[Memory | PromptMemory, ...]:
        """All of them, the latest last, each group as one at the place of its latest."""
        if self._all is None:
            place = {owner: i for i, owner in enumerate(self.order())}
            owners = sorted(self._owned, key=lambda owner: place.get(owner, len(place)))
            groups: dict[object, list[Any]] = {}
            for memory in (memory for owner in owners for memory in self._owned[owner]):
                key = (type(memory), memory.group) if memory.group is not None else memory
                groups[key] = [*groups.pop(key, ()), memory]  # popped: a group moves to the place of its latest
            self._all = tuple(one[0] if len(one) == 1 else type(one[0]).joined(one) for one in groups.values())
        return self._all

    def _inside(self) -> tuple[tuple[int, Memory], ...]:
        """Those that work inside the model, in order and with their numbers."""
        if self._numbered is None:
            inside = (memory for memory in self._ordered() if isinstance(memory, Memory))
            self._numbered = tuple(enumerate(inside))
        return self._numbered

    def _at(self, site: Site, x: Tensor, y: Tensor) -> Tensor:
        """The output (B, S, d_out) of the module at a site, with what the memories do there."""
        passing = self._passes.current.get(site.stack) if self._passes is not None else None
        if passing is None:
            return y
        latched = passing.latched
        undecided = [(n, one) for n, one in self._inside() if one.reads == site and n not in latched.decisions]
        if undecided and bool((passing.last >= 0).any()):
            seen = Seen(x, y, passing.prompt, passing.last)
            for number, memory in undecided:
                with torch.no_grad():
                    latched.decisions[number] = decision = _checked(memory.decide(seen), len(y), memory)
                if not bool((decision >= 0).any()):
                    latched.idle.add(number)
        acting = [
            (n, one)
            for n, one in reversed(self._inside())
            if site in one.acts and n not in latched.idle and not (one.prompt_only and passing.in_answer)
        ]
        return self._acted(site, x, y, passing, acting) if acting else y

    def _acted(self, site: Site, x: Tensor, y: Tensor, passing: Pass, acting: Sequence[tuple[int, Memory]]) -> Tensor:
        """The output with what numbered memories do, of which the first has its way."""
        seen = Seen(x, y, passing.prompt, passing.last)
        free = torch.ones(len(y), dtype=torch.bool, device=y.device)
        for number, memory in acting:
            decision = _decision(passing, number, memory, site).to(y.device)
            decision = decision.repeat_interleave(len(y) // len(decision))  # beams of an encoder's rows
            rows = ((decision >= 0) & free).nonzero()[:, 0]
            if len(rows) == 0:
                continue
            if len(rows) == len(y):
                return memory.act(site, decision, seen).to(y.dtype)
            free[rows] = False
            new = memory.act(site, decision[rows], seen.rows(rows))
            y = y.index_copy(0, rows, new.to(y.dtype))
        return y


def attached(model: "PreTrainedModel") -> tuple[Memory | PromptMemory, ...]:
    """The memories on a model of an open session or of `editcore.load`, the latest last, each group as one."""
    found = _of[model]() if model in _of else None
    return () if found is None else found._ordered()


def _sites(memories: Sequence[Memory | PromptMemory]) -> frozenset[Site]:
    inside = [memory for memory in memories if isinstance(memory, Memory)]
    return frozenset(site for memory in inside for site in (memory.reads, *memory.acts))


def _decision(passing: Pass, number: int, memory: Memory, site: Site) -> Tensor:
    decision = passing.latched.decisions.get(number)
    if decision is None:
        raise PluginError(
            f"{type(memory).__name__} acts at {site}, which runs before {memory.reads}, where it decides",
            hint="report this to the authors of the patch kind",
        )
    return decision


def _checked(decision: Tensor, rows: int, memory: Memory) -> Tensor:
    if decision.shape != (rows,) or decision.dtype != torch.int64:
        raise PluginError(
            f"{type(memory).__name__}.decide must give ({rows},) int64, not {tuple(decision.shape)} {decision.dtype}",
            hint="report this to the authors of the patch kind",
        )
    return decision
