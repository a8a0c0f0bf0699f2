"""The perplexity ratio of Qi et al. 2025 (ICE, arXiv:2406.11194), as it is meant and as it was released.

Meant: how surprising the unedited model finds what the edited model writes, against how surprising it finds the new
target. The released evaluation differs in three ways: a token is scored where the token after it is predicted;
the text below the line is the first character of the prompt and the target; and the text is tokenised again.
"""

from math import exp
from typing import Any, Final

from attrs import evolve

from editcore.evaluation.engine.dialogue import Conversation, DialogueMetric, Row
from editcore.evaluation.engine.questions import Scored, Unanswered, Unshifted, score, write
from editcore.evaluation.metrics.fluency import TOKENS
from editcore.evaluation.metrics.rows import edit_prompt, judged, row
from editcore_hooks import Case

_SILENT: Final = "the model wrote nothing"


class PerplexityRatio(DialogueMetric):
    name = "ppl_r@1"
    summary = "perplexity, to the unedited model, of what is written after the prompt, over that of the new target"
    share = False
    better = "neither"

    def ask(self, case: Case) -> Conversation:
        prompt, target = edit_prompt(case), case.request.target_new
        (written,) = yield [write(case, prompt, TOKENS)]
        if isinstance(written, Unanswered) or not written.strip():
            return [_unwritten(case, written)]
        # What was written begins where the prompt ends, with a blank only if the model wrote one; the target is joined
        # by the rule of the case. Either may be more tokens when it is read than the model has room for.
        asked = evolve(score(case, prompt, target, unedited=True), cut=True)
        read = yield [evolve(asked, target=written, target_prefix="none"), asked]
        return [judged(case, "edit", prompt, target, read, _ratio_of_means, written=written)]


class ReleasedPerplexityRatio(DialogueMetric):
    """For comparison with published figures and for nothing else."""

    name = "ppl_r.ice2024@1"
    summary = "ppl_r as ICE's released evaluation computes it, which is no perplexity"
    share = False
    better = "neither"

    def ask(self, case: Case) -> Conversation:
        prompt, target = edit_prompt(case), case.request.target_new
        (written,) = yield [write(case, prompt, TOKENS)]
        if isinstance(written, Unanswered):
            return [_unwritten(case, written)]
        above, below = yield [Unshifted(prompt + written, skip=prompt), Unshifted(prompt[0] + target)]
        if not above:
            return [_unwritten(case, written)]
        value = ratio(sum(below) / len(below) - sum(above) / len(above))
        return [row(case, "edit", prompt, target, value, written=written)]


def _unwritten(case: Case, written: str | Unanswered) -> Row:
    text, why = ("", written.why) if isinstance(written, Unanswered) else (written, _SILENT)
    return row(case, "edit", edit_prompt(case), case.request.target_new, None, written=text, why=why)


def _ratio_of_means(above: Scored, below: Scored) -> tuple[float, dict[str, Any]]:
    return ratio(below.mean - above.mean), {}


def ratio(difference: float) -> float:
    """e^difference, of what is given in nats; a row must stay a number that JSON knows."""
    return exp(min(difference, 700.0))


METRICS: Final = [PerplexityRatio, ReleasedPerplexityRatio]
