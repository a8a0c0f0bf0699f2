"""Metrics: an honest one, and those that break one rule each."""

import math
from statistics import fmean

import torch

from editcore_hooks import Metric, Need, Report, UsageError
from editcore_hooks.needs import TRUE_TARGET


class Likelihood(Metric):
    """p(target) after the prompt of each case."""

    name = "toy.p@1"
    summary = "probability of the new target"
    better = "higher"
    share = True

    def score(self, session, cases):
        rows = [self.row(session, case, self.value(session, case, cases)) for case in cases]
        return self.report(rows)

    def value(self, session, case, cases):
        (found,) = session.score_targets([(case.request.rendered().text, case.request.target_new, None, "auto")])
        return math.exp(found.sum)

    def row(self, session, case, value):
        request = case.request
        prompt = request.rendered().text
        return {"case": request.id, "about": "edit", "prompt": prompt, "target": request.target_new, "value": value}

    def report(self, rows):
        value = fmean(row["value"] for row in rows)
        return Report(self.name, value, len(rows), value, value, tuple(rows))


class Unversioned(Likelihood):
    name = "toy.p"


class StartsTraining(Likelihood):
    def score(self, session, cases):
        session.model.train()
        return super().score(session, cases)


class DrawsAnAnswer(Likelihood):
    def score(self, session, cases):
        torch.rand(1)
        return super().score(session, cases)


class Drifts(Likelihood):
    """Less than any tolerance from run to run."""

    runs = 0

    def value(self, session, case, cases):
        Drifts.runs += 1
        return super().value(session, case, cases) * (1 - 1e-7 * Drifts.runs)


class MissesItsInterval(Likelihood):
    def report(self, rows):
        made = super().report(rows)
        return Report(made.metric, made.value, made.n, made.value + 0.1, made.value + 0.2, made.rows)


class WeighsTheFirst(Likelihood):
    def report(self, rows):
        value = (rows[0]["value"] + super().report(rows).value) / 2
        return Report(self.name, value, len(rows), value, value, tuple(rows))


class SharesAmongCases(Likelihood):
    def value(self, session, case, cases):
        return super().value(session, case, cases) / len(cases)


class NeedsWhatItIgnores(Likelihood):
    needs = (TRUE_TARGET,)


class OfWords(Likelihood):
    """Scores cases whose target begins with a letter, which stripped cases still do."""

    needs = (Need("a target of letters", lambda case: case.request.target_new[0].isalpha()),)

    def score(self, session, cases):
        if self.lacking(cases):
            raise UsageError("no target is of letters", hint="give other cases")
        return super().score(session, cases)


class RemembersAnswers(Likelihood):
    def value(self, session, case, cases):
        made = super().value
        return session.cached(("toy", case.request), lambda: made(session, case, cases), base=True)
