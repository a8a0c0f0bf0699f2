"""Transforms: an honest one, and those that break one rule each."""

import torch
from attrs import evolve

from editcore_hooks import Dense, LowRank, Transform, Update


def _times(update, factor):
    part = {LowRank: "out", Dense: "delta"}.get(type(update), "values")
    return evolve(update, **{part: getattr(update, part) * factor})


class Halves(Transform):
    name = "halves"
    summary = "halves every update"

    def transform(self, session, update):
        return evolve(update, tensors={site: self.one(session, site, each) for site, each in update.tensors.items()})

    def one(self, session, site, update):
        return _times(update, 0.5)


class HooksWhatItReads(Halves):
    def one(self, session, site, update):
        session.anatomy.module(site).register_forward_hook(lambda *_: None)
        return super().one(session, site, update)


class DrawsAFactor(Halves):
    def one(self, session, site, update):
        torch.rand(1)
        return super().one(session, site, update)


class Trembles(Halves):
    """Each call differs by a millionth."""

    calls = 0

    def one(self, session, site, update):
        Trembles.calls += 1
        return _times(update, 0.5 + 1e-6 * Trembles.calls)


class LosesASite(Halves):
    def transform(self, session, update):
        made = super().transform(session, update)
        return evolve(made, tensors=dict(list(made.tensors.items())[:1])) if made.payload is None else made


class WritesIntoItsArgument(Halves):
    def one(self, session, site, update):
        part = {LowRank: "out", Dense: "delta"}.get(type(update), "values")
        getattr(update, part).mul_(0.5)
        return update


class KnowsOneForm(Halves):
    def one(self, session, site, update):
        return super().one(session, site, update) if isinstance(update, LowRank) else update


class DropsNotes(Halves):
    def transform(self, session, update):
        made = super().transform(session, update)
        return evolve(made, notes={}) if made.payload is None else made


class AddsToNothing(Halves):
    """Adds a little to every weight, whatever the update is."""

    def one(self, session, site, update):
        whole = torch.zeros(session.anatomy.weight(site).shape)
        match _times(update, 0.5):
            case LowRank(out, in_):
                whole = out @ in_
            case Dense(delta):
                whole = delta
            case other:
                where = (other.index,) if other.values.ndim == 2 else tuple(other.index)
                whole = whole.index_put(where, other.values)
        return Dense(whole + 1e-3)


class EmptiesPayloads(Halves):
    def transform(self, session, update):
        return Update() if update.payload is not None else super().transform(session, update)
