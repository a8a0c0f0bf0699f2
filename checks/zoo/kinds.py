"""Kinds of patches: an honest one, and those that break one rule each. `Remembers` makes patches for all of them."""

import torch

from checks.zoo.methods import Bias, Remembers
from editcore.authoring.memories import Memory
from editcore_hooks import MemoryKind, Site


class Checked(Bias):
    """Adds a bias to the logits, and refuses a patch without it."""

    name = "toy.checked"
    summary = "a bias on logits"

    def check(self, core, tensors=None):
        return None if "bias" in core["payload"]["parts"] else "it has no bias"


class Stays(Checked):
    name = "toy.stays"

    def detach(self, session, handle):
        pass


class TakesOffTheLast(Checked):
    """Whatever handle it is given."""

    name = "toy.last"
    handles: list = []  # noqa: RUF012

    def attach(self, session, patch):
        handle = super().attach(session, patch)
        self.handles.append(handle)
        return handle

    def detach(self, session, handle):
        self.handles.pop().remove()


class OnHidden(Checked):
    """Adds a number to what the head reads; `scaled` spoils it."""

    name = "toy.hidden"

    def attach(self, session, patch):
        bias = patch.tensors["payload/bias"].norm() * (1 + patch.tensors["payload/bias"].argmax() / 100)
        norm = session.anatomy.module(Site("final_norm"))
        return norm.register_forward_hook(lambda module, args, hidden: self.scaled(hidden + bias / 100))

    def scaled(self, hidden):
        return hidden


class MinglesTheRows(OnHidden):
    name = "toy.mingles-rows"

    def scaled(self, hidden):
        return hidden * (1 + 0.1 * len(hidden))


class MarksTheLastColumn(OnHidden):
    name = "toy.last-column"

    def scaled(self, hidden):
        return torch.cat([hidden[:, :-1], hidden[:, -1:] * 1.5], 1)


class LooksLeft(OnHidden):
    """Adds the state of the column before, and says that it may be read in branches."""

    name = "toy.looks-left"
    reads_branches = True

    def scaled(self, hidden):
        return hidden + 0.5 * hidden.roll(1, dims=1)


class SkipsOneToken(OnHidden):
    """Does nothing where the model reads one token, as it does when it writes."""

    name = "toy.skips"

    def attach(self, session, patch):
        norm = session.anatomy.module(Site("final_norm"))
        return norm.register_forward_hook(
            lambda module, args, hidden: hidden if hidden.shape[1] == 1 else hidden.flip(-1)
        )


class DescribesTensors(Checked):
    name = "toy.tensors"

    def describe(self, patch):
        return {"bias": patch.tensors["payload/bias"]}


class ChecksNothing(Checked):
    name = "toy.unchecked"

    def check(self, core, tensors=None):
        return None


class Everywhere(Memory):
    """Adds a value to every token of every row."""

    def __init__(self, site, value):
        self.reads, self.acts, self.value = site, (site,), value

    def decide(self, seen):
        return torch.zeros(len(seen.inputs), dtype=torch.int64, device=seen.inputs.device)

    def act(self, site, chosen, seen):
        return seen.outputs + self.value


class NamesNoPlace(MemoryKind):
    name = "toy.placeless"
    summary = "a memory that does not say where it works"
    check = Checked.check

    def memory(self, session, patch):
        likely = patch.tensors["payload/bias"].argmax()
        return Everywhere(Site("mlp_out", 1), torch.linspace(-1, 1, session.anatomy.hidden_size) * (1 + likely / 100))


KINDS = (
    Checked, NamesNoPlace, Stays, TakesOffTheLast, OnHidden, MinglesTheRows, MarksTheLastColumn, LooksLeft,
    SkipsOneToken, DescribesTensors, ChecksNothing,
)  # fmt: skip


def maker(kind):
    """A method whose patches are of this kind."""
    return type(f"Makes{kind.__name__}", (Remembers,), {"kind": kind.name})
