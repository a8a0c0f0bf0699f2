"""Locators: an honest one, and those that break one rule each."""

from typing import Any

import torch

from editcore_hooks import Location, Locator, Site


class Fixed(Locator):
    name = "fixed"
    summary = "always the second block"

    def locate(self, session, requests, state):
        return Location((Site("mlp_out", 1),))


class PointsNowhere(Fixed):
    def locate(self, session, requests, state):
        return Location((Site("mlp_out", session.anatomy.n_layers),))


class NamesNoToken(Fixed):
    def locate(self, session, requests, state):
        return Location((Site("mlp_out", 1),), token="subject_middle")


class HooksTheModel(Fixed):
    def locate(self, session, requests, state):
        session.anatomy.module(Site("mlp_out", 1)).register_forward_hook(lambda *_: None)
        return super().locate(session, requests, state)


class DrawsAPlace(Fixed):
    def locate(self, session, requests, state):
        torch.rand(1)
        return super().locate(session, requests, state)


class ChangesItsMind(Fixed):
    """Another block for every other session."""

    met: Any = []  # noqa: RUF012

    def locate(self, session, requests, state):
        if not any(session is one for one in self.met):
            self.met.append(session)
        number = next(i for i, one in enumerate(self.met) if one is session)
        return Location((Site("mlp_out", number % 2),))


class ListensToTheFirst(Fixed):
    def locate(self, session, requests, state):
        return Location((Site("mlp_out", len(requests[0].subject) % 3),))
