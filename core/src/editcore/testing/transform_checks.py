"""Checks of a transform: another update at the same places, whatever form it comes in, and the given one unchanged."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from attrs import evolve

from editcore.editing.seeding import seed_all
from editcore.facade import Session
from editcore.plugins.hparams import from_mapping
from editcore.plugins.transforms import apply_transforms
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.traceless import assert_draws_nothing, assert_refused, assert_traceless
from editcore_hooks import Dense, LowRank, Named, Payload, Rows, Site, Sparse, TensorUpdate, Update

SITES = (Site("mlp_out", 1), Site("mlp_out", 2))


class TransformChecks(DeclaredChecks):
    """Whatever the method is that made the update."""

    transform: ClassVar[str]
    sites: ClassVar[tuple[Site, ...]] = SITES
    size: ClassVar[float] = 0.5
    """Norm of the update that is given, relative to that of the weight."""

    @property
    def cls(self) -> type[Named]:
        return self.known.transform(self.transform)

    def transformed(self, session: Session, update: Update) -> Update:
        instance = self.known.transform(self.transform)(from_mapping(self.cls.Hparams, self.hparams))
        seed_all(session.seed)
        return apply_transforms([instance], session, update)

    def update(self, session: Session) -> Update:
        """A rank-two update at every site."""
        made: dict[Site, TensorUpdate] = {}
        generator = torch.Generator().manual_seed(0)
        for site in self.sites:
            weight = session.anatomy.weight(site).float()  # (d, f)
            out, in_ = (torch.randn(n, 2, generator=generator) for n in weight.shape)
            out *= self.size * weight.norm() / (out @ in_.T).norm()
            made[site] = LowRank(out, in_.T.contiguous())
        return Update(made, state_increment={"seen": torch.ones(3)}, notes={"loss": 0.5})

    def test_the_model_is_left_as_it_was(self, session: Session) -> None:
        update = self.update(session)
        assert_traceless(session, lambda: self.transformed(session, update))

    def test_random_state_is_left_as_it_was(self, session: Session) -> None:
        update = self.update(session)
        assert_draws_nothing(session, lambda: self.transformed(session, update))

    def test_two_runs_agree_to_the_last_bit(self, session: Session) -> None:
        one, other = (_whole(self.transformed(session, self.update(session)), session) for _ in range(2))
        assert all(torch.equal(one[site], other[site]) for site in one)

    def test_sites_and_shapes_stay(self, session: Session) -> None:
        made = self.transformed(session, self.update(session))
        assert set(made.tensors) == set(self.sites), "it changes which sites are edited"
        for site, delta in _whole(made, session).items():
            assert delta.shape == session.anatomy.weight(site).shape
            assert bool(delta.isfinite().all()), f"the delta of {site} is not finite"

    def test_the_update_that_it_is_given_is_unchanged(self, session: Session) -> None:
        update = self.update(session)
        before = {site: delta.clone() for site, delta in _whole(update, session).items()}
        self.transformed(session, update)
        after = _whole(update, session)
        assert all(torch.equal(before[site], after[site]) for site in before), "it changes its argument in place"

    def test_the_form_of_an_update_does_not_matter(self, session: Session) -> None:
        update = self.update(session)
        whole = {site: delta.clone() for site, delta in _whole(update, session).items()}
        expected = _whole(self.transformed(session, update), session)
        for name, form in (("Dense", Dense), ("Sparse", _sparse), ("Rows", _rows)):
            other = evolve(update, tensors={site: form(delta.clone()) for site, delta in whole.items()})
            found = _whole(self.transformed(session, other), session)
            for site, delta in expected.items():
                assert float((found[site] - delta).norm()) <= 1e-3 * float(delta.norm()), f"as {name} it differs"

    def test_what_else_an_update_holds_is_kept(self, session: Session) -> None:
        update = self.update(session)
        made = self.transformed(session, update)
        assert made.state_increment.keys() == update.state_increment.keys(), "state for later edits is lost"
        assert made.assets == update.assets, "assets are lost"
        lost = update.notes.keys() - made.notes.keys()
        assert not lost, f"notes are lost: {', '.join(lost)}"

    def test_an_update_of_zero_stays_zero(self, session: Session) -> None:
        update = self.update(session)
        none = {site: Dense(torch.zeros_like(delta)) for site, delta in _whole(update, session).items()}
        made = _whole(self.transformed(session, evolve(update, tensors=none)), session)
        assert not any(bool(delta.any()) for delta in made.values())

    def test_an_update_without_weights_is_refused_or_left(self, session: Session) -> None:
        update = Update(payload=Payload("toy", {}, {"key": torch.ones(2)}))
        try:
            made = self.transformed(session, update)
        except Exception:
            assert_refused(lambda: self.transformed(session, update), "an update without weights")
        else:
            assert made == update, "it changes a payload, which belongs to another plugin"


def _whole(update: Update, session: Session) -> Mapping[Site, torch.Tensor]:
    """Each delta as a matrix, (d, f)."""
    return {site: _matrix(one, session.anatomy.weight(site).shape) for site, one in update.tensors.items()}


def _matrix(update: TensorUpdate, shape: torch.Size) -> torch.Tensor:
    match update:
        case LowRank(out, in_):
            return out.float() @ in_.float()  # type: ignore[no-any-return]
        case Dense(delta):
            return delta.float()  # type: ignore[no-any-return]
        case Rows(index, values):
            return torch.zeros(shape).index_put((index,), values.float())
        case Sparse(index, values):
            return torch.zeros(shape).index_put((index[0], index[1]), values.float())
    pytest.fail(f"{type(update).__name__} is no form of an update")


def _sparse(delta: torch.Tensor) -> Sparse:
    index = delta.nonzero().T  # (2, n)
    return Sparse(index, delta[index[0], index[1]])


def _rows(delta: torch.Tensor) -> Rows:
    return Rows(torch.arange(len(delta)), delta)
