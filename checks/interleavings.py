"""Random interleavings of apply, revert, squash and reload, on disk and in memory: after each the base rebuilt."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from attrs import evolve, field, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from checks import sample_patches
from editcore.applying.folding import fold_to_copy
from editcore.facade import Session, open_model
from editcore.models.running.batch import forward, pad
from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import patch_path
from editcore.patches.compare.verification import verify_folder
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.patch import Patch
from editcore.patches.file.target import CoreTarget
from editcore.storage.tensors import blob_of, tensor_of
from editcore_hooks import ConflictError

EXAMPLES: Final = 400
STEPS: Final = 14
SCALES: Final = (1.0, 0.5, -1.0, 3.0)


@frozen
class Present:
    """A patch of the stack, and the ids of all that a squash put into it."""

    patch: Patch = field(repr=lambda patch: f"{patch.patch_id[:12]} {patch.title}")
    inside: frozenset[str] = field(repr=lambda inside: f"{len(inside)} patches")


def sources(draw: st.DrawFn) -> tuple[dict[str, str], int, float]:
    """Forms by tensor, a seed and a scale."""
    keys = draw(st.lists(st.sampled_from(sample_patches.KEYS), min_size=1, max_size=3, unique=True))
    dims = {key: 1 if "layernorm" in key else 2 for key in keys}
    fitting = {key: [name for name, form in sample_patches.FORMS.items() if dims[key] in form.dims] for key in keys}
    # Drawn as often as the others, the forms that exclude them would leave little to interleave.
    usual = {
        key: [name for name in names if not sample_patches.FORMS[name].exclusive] for key, names in fitting.items()
    }
    forms = {key: draw(st.sampled_from(usual[key] + fitting[key])) for key in keys}
    plain = not any(sample_patches.FORMS[form].exclusive for form in forms.values())
    return forms, draw(st.integers(0, 2**20)), draw(st.sampled_from(SCALES)) if plain else 1.0


PATCHES: Final = st.composite(sources)()


def expected(base: torch.Tensor, patches: Sequence[Patch], key: str) -> torch.Tensor:
    """The rule of the format page, written once more: whole matrices, by ascending id, each form from its parts."""
    total = base.double()
    touching = [patch for patch in sorted(patches, key=lambda patch: patch.patch_id) if key in patch.targets]
    for patch in touching:
        target = patch.targets[key]
        parts = {name: patch.tensors[f"{key}/{name}"] for name in target.parts}
        form = sample_patches.FORMS[target.form.name]
        if form.becomes is not None:
            return form.becomes(base, parts)
        assert form.delta is not None
        start = 0
        groups: list[tuple[int | None, float]] = [(group.rank, group.scale) for group in target.groups]
        for rank, scale in groups or [(None, 1.0)]:
            if rank is None:
                delta = form.delta(base, parts)
            else:  # only factors come in groups
                stop = start + rank
                delta = form.delta(base, {"left": parts["left"][:, start:stop], "right": parts["right"][start:stop]})
                start = stop
            total = total + patch.scale * scale * delta
    return total.float().to(base.dtype) if touching else base


@cache
def _bases() -> "tempfile.TemporaryDirectory[str]":
    """Where `_base` keeps its folders for all walks of this process."""
    return tempfile.TemporaryDirectory()


@cache
def _base(dtype: torch.dtype, sharded: bool) -> Path:
    name = f"{str(dtype).removeprefix('torch.')}-{'sharded' if sharded else 'single'}"
    return sample_patches.checkpoint(Path(_bases().name) / name, dtype, sharded)


class Interleaving(RuleBasedStateMachine):
    """One folder and what must be in it. `seen` counts over all walks."""

    seen: ClassVar[Counter[str]] = Counter()

    @initialize(dtype=st.sampled_from(sample_patches.DTYPES), sharded=st.booleans())
    def start(self, dtype: torch.dtype, sharded: bool) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.base = _base(dtype, sharded)
        self.folder = sample_patches.copy(self.base, Path(self.place.name) / "model")
        opened = Checkpoint.open(self.base)
        self.before = {key: tensor_of(e.dtype, e.shape, opened.read(key)) for key, e in opened.entries.items()}
        self.files = sample_patches.hashes(self.base)
        self.present: list[Present] = []
        self.seen[f"walk: {str(dtype).removeprefix('torch.')}, {'sharded' if sharded else 'single file'}"] += 1

    @rule(drawn=st.lists(PATCHES, min_size=1, max_size=3))
    def apply(self, drawn: list[Any]) -> None:
        patches = [sample_patches.patch(self.base, *one) for one in drawn]
        files = sample_patches.hashes(self.folder)
        if self._conflicting(patches):
            try:
                apply_on_disk(self.folder, patches)
            except ConflictError:
                assert sample_patches.hashes(self.folder) == files
                self.seen["step: apply, refused as a conflict"] += 1
                return
            raise AssertionError("a conflict was not refused")
        apply_on_disk(self.folder, patches)
        self.present += [Present(patch, frozenset((patch.patch_id,))) for patch in patches]
        self.seen["step: apply"] += 1
        self.seen.update(f"form: {_form(target)}" for patch in patches for target in patch.targets.values())

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(self.present), min_size=1, unique_by=_id))
        revert_on_disk(self.folder, [one.patch.patch_id for one in gone])
        self.present = [one for one in self.present if one not in gone]
        self.seen["step: revert"] += 1

    @precondition(lambda self: len(self.present) > 1)
    @rule(data=st.data(), max_rank=st.sampled_from((None, None, 1)))
    def squash(self, data: st.DataObject, max_rank: int | None) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.present), min_size=2, max_size=4, unique_by=_id))
        patches = [one.patch for one in chosen]
        inside = frozenset[str]().union(*(one.inside for one in chosen))
        if len(inside) < sum(len(one.inside) for one in chosen):
            try:
                squash(patches, max_rank=max_rank)
            except ConflictError:
                self.seen["step: squash, refused as a conflict"] += 1
                return
            raise AssertionError("a patch was squashed twice into one")
        done = squash(patches, max_rank=max_rank)
        for key in done.patch.targets:
            self._compare_squashed(key, patches, done.patch, done.residuals.get(key))
        revert_on_disk(self.folder, [patch.patch_id for patch in patches])
        apply_on_disk(self.folder, [done.patch])
        self.present = [one for one in self.present if one not in chosen] + [Present(done.patch, inside)]
        self.seen["step: squash"] += 1

    @rule()
    def reload(self) -> None:
        """All that a new process would know is read from the disk again."""
        opened = Checkpoint.open(self.folder)
        assert opened.patch_ids == tuple(one.patch.patch_id for one in self.present)
        read = {name: Patch.load(patch_path(self.folder, name)) for name in opened.patch_ids}
        self.present = [evolve(one, patch=read[one.patch.patch_id]) for one in self.present]
        found = verify_folder(self.folder)
        assert (found.problems, found.notices) == ((), ())
        self.seen["step: reload"] += 1

    @rule(drawn=st.lists(PATCHES, min_size=1, max_size=3), data=st.data())
    def session(self, drawn: list[Any], data: st.DataObject) -> None:
        """Patches put on an open model of the folder, in memory, and taken off in another order."""
        session = open_model(self.folder)
        on_disk, live = [one.patch for one in self.present], list[Patch]()
        for patch in (sample_patches.patch(self.base, *one) for one in drawn):
            if not self._conflicting([*live, patch]):
                session.apply(patch)
                live.append(patch)
                self._compare_parameters(session, [*on_disk, *live])
        for patch in data.draw(st.permutations(live)):
            session.live.remove(patch.patch_id)
            live.remove(patch)
            self._compare_parameters(session, [*on_disk, *live])
        self.seen["step: session in memory"] += 1

    @rule(seed=st.integers(0, 2**20), block=st.integers(0, 1), folded=st.booleans())
    def units(self, seed: int, block: int, folded: bool) -> None:
        """Neurons appended in memory and taken off, or folded into a checkpoint together with the patches present."""
        on_disk = [one.patch for one in self.present]
        session, units = open_model(self.folder), sample_patches.units(self.base, seed, block)
        plain = _logits(session.model)
        with session.patched(units):
            beside = _logits(session.model)
            self._compare_parameters(session, on_disk)
        assert torch.equal(_logits(session.model), plain)
        self._compare_parameters(session, on_disk)
        self.seen["step: units in memory"] += 1
        if folded:
            wider = Path(self.place.name) / "wider"
            fold_to_copy(self.base, wider, [*on_disk, units])
            torch.testing.assert_close(_logits(open_model(wider).model), beside, rtol=1e-3, atol=1e-3)
            shutil.rmtree(wider)
            self.seen["step: units folded"] += 1

    @invariant()
    def is_the_rebuild_from_the_base(self) -> None:
        patches = [one.patch for one in self.present]
        stored = sample_patches.weights(self.folder)
        assert stored.keys() == self.before.keys()
        for key, base in self.before.items():
            assert _bits(stored[key]) == _bits(expected(base, patches, key)), key
        if not patches:
            assert sample_patches.hashes(self.folder) == self.files
        self.seen["states compared"] += 1
        self.seen["tensors compared"] += len(stored)

    def teardown(self) -> None:
        self.place.cleanup()

    def _conflicting(self, patches: Sequence[Patch]) -> bool:
        """Whether one would be there twice, alone or inside a squash, or beside a form that excludes it."""
        there = frozenset[str]().union(*(one.inside for one in self.present))
        everyone = [*(one.patch for one in self.present), *patches]
        if len({patch.patch_id for patch in everyone}) < len(everyone) or any(p.patch_id in there for p in patches):
            return True
        forms: dict[str, list[str]] = {}
        for patch in everyone:
            for key, target in patch.targets.items():
                forms.setdefault(key, []).append(target.form.name)
        return any(
            len(names) > 1 and any(sample_patches.FORMS[name].exclusive for name in names) for names in forms.values()
        )

    def _compare_squashed(self, key: str, patches: Sequence[Patch], squashed: Patch, residual: float | None) -> None:
        """Bit for bit where the squash says exact, else within the residual that it states."""
        base = self.before[key]
        if residual is None:
            apart = expected(base, patches, key)
            assert _bits(rebuild(base, squashed.deltas(key))) == _bits(apart), f"{key} was reported as exact"
            self.seen["squashed tensors, exact"] += 1
            return
        zero = torch.zeros(base.shape, dtype=torch.float64)
        wanted, got = (_delta(zero, those, key) for those in (patches, [squashed]))
        # What float64 loses in taking the two sums, each of a few hundred products of size one, is no fault of theirs.
        assert float((got - wanted).norm()) <= residual * float(wanted.norm()) + 1e-13, f"{key} missed its residual"
        self.seen["squashed tensors, within the stated residual"] += 1

    def _compare_parameters(self, session: Session, patches: Sequence[Patch]) -> None:
        parameters = dict(session.model.named_parameters())
        for key, base in self.before.items():
            # The head of a model that ties it is stored once; a parameter runs wider than it is stored, exactly.
            assert torch.equal(parameters[key], expected(base, patches, key).to(parameters[key].dtype)), key
        self.seen["states compared in memory"] += 1


def _form(target: CoreTarget) -> str:
    wide = any(part.dtype == "F64" for part in target.parts.values())
    return f"{target.form.name}{' f64' * wide}"


def _delta(zero: torch.Tensor, patches: Sequence[Patch], key: str) -> torch.Tensor:
    touching = [patch for patch in patches if key in patch.targets]
    return sum((_alone(zero, patch, key) for patch in touching), zero)


def _alone(zero: torch.Tensor, patch: Patch, key: str) -> torch.Tensor:
    columns = zero.shape[-1] if zero.dim() > 1 else 1
    matrix = zero.reshape(-1, columns)
    return sum((d.scale * d.block(0, len(matrix), columns) for d in patch.deltas(key)), matrix).reshape(zero.shape)


def _bits(value: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    blob = blob_of(value)
    return blob.dtype, blob.shape, blob.data


@torch.no_grad()
def _logits(model: Any) -> torch.Tensor:
    return forward(model, pad([[5, 6, 7], [8, 9]]))


def _id(one: Present) -> str:
    return one.patch.patch_id


def walk(examples: int, steps: int = STEPS, derandomize: bool = False) -> Counter[str]:
    """Walk `examples` times and return what was seen. A failure is hypothesis's, with the steps that lead to it."""
    Interleaving.seen.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Interleaving, settings=chosen)
    return Counter(Interleaving.seen)


def run() -> list[str]:
    seen = walk(EXAMPLES, derandomize=True)
    said = (
        f"{sum(n for what, n in seen.items() if what.startswith('walk'))} walks of at most {STEPS} steps; after every "
        "step each tensor of the folder was the base rebuilt with the patches present, bit for bit."
    )
    return [
        said,
        "",
        "| what | count |",
        "|---|---|",
        *(f"| {what} | {count:,} |" for what, count in sorted(seen.items())),
    ]
