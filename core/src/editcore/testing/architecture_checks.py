"""Checks of the map of a model family: every part is where it says, in the model and in the files."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch

from editcore.applying.change import Change
from editcore.assets.store import AssetStore
from editcore.editing.annotation import describe_base
from editcore.facade import Session
from editcore.models.anatomy.stacks import AT_ROOT
from editcore.models.running.tracing import Tap, Trace
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.running import logprobs
from editcore_hooks import Architecture, LowRank, Site


class ArchitectureChecks(DeclaredChecks):
    """Override `model` with one of the family; random weights do."""

    architecture: ClassVar[str]

    @property
    def cls(self) -> type[Architecture]:
        return self.known.architecture(self.architecture)

    def sites(self, session: Session) -> Iterator[Site]:
        """Every site of the decoder."""
        for role in session.anatomy.roles:
            layers: Any = [None] if role in AT_ROOT else range(session.anatomy.n_layers)
            yield from (Site(role, layer) for layer in layers)  # type: ignore[arg-type]

    def test_the_model_is_of_this_family(self, session: Session) -> None:
        assert session.traits()["model_type"] == self.cls.name

    def test_every_path_leads_to_a_module(self, session: Session) -> None:
        missing = self.cls.parts.keys() - session.anatomy.roles.keys()
        assert not missing, f"a part that it names is not in the model: {', '.join(missing)}"
        for site in self.sites(session):
            assert isinstance(session.anatomy.module(site), torch.nn.Module)

    def test_weights_are_in_the_files(self, session: Session) -> None:
        keys = session.checkpoint.entries
        for site in (Site("mlp_out", 0), Site("attn_out", 0), Site("embed")):
            name, _, _ = session.anatomy.parameter(site)
            assert session.anatomy.key_of(name, keys) in keys, f"{name} has no tensor in the files: see `prefixes`"

    def test_a_canonical_weight_maps_its_input(self, session: Session) -> None:
        site = Site("mlp_out", session.anatomy.n_layers - 1)
        with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True, output=True)}) as trace:
            logprobs(session, self.requests[:1])
        bias = getattr(session.anatomy.module(site), "bias", None)
        expected = trace.input(site) @ session.anatomy.weight(site).T + (0 if bias is None else bias)  # (B, T, d)
        torch.testing.assert_close(trace.output(site), expected, rtol=1e-3, atol=1e-3)

    def test_a_patch_goes_into_its_files_and_out_again(
        self, session: Session, folder: Path, assets: AssetStore, tmp_path: Path
    ) -> None:
        patch = self._patch(session)
        with session.patched(patch):
            live = logprobs(session, self.requests)
        copy = tmp_path / "model"
        shutil.copytree(folder, copy)
        files = _digests(copy)
        Change.open(copy, [patch]).commit(session.registry)
        assert torch.equal(logprobs(self.open(copy, assets), self.requests), live)
        Change.open(copy, remove=[patch.patch_id]).commit(session.registry)
        assert {name: _digests(copy).get(name) for name in files} == files

    def _patch(self, session: Session) -> Patch:
        """A rank-one change of a down projection."""
        site = Site("mlp_out", 0)
        key = session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries)
        d, f = session.anatomy.weight(site).shape
        update = to_stored(LowRank(torch.ones(d, 1), torch.full((1, f), 0.01)), session.anatomy.transposed(site))
        entry = session.checkpoint.entries[key]
        target = Target(update, entry.dtype, entry.shape, session.checkpoint.base_sha256(key))
        return seal({key: target}, describe_base(session), {})


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
