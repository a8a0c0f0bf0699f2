"""Cases, metrics that ask questions, and reports of their rows."""

from editcore.cases.reading import parse_case, read_cases
from editcore.cases.writing import case_to_json
from editcore.evaluation.engine.dialogue import Conversation, DialogueMetric, NothingAskedError, Row, over_cases
from editcore.evaluation.engine.questions import (
    Answer,
    Answered,
    Drift,
    Neutral,
    Question,
    Read,
    Score,
    Scored,
    Unanswered,
    Write,
    score,
    write,
)
from editcore.evaluation.engine.row_reports import summarise
from editcore.evaluation.metrics.preference import harmonic
from editcore.evaluation.metrics.rows import edit_prompt, facts, judged, probes, row
from editcore.evaluation.reports.intervals import normal, wilson
from editcore.evaluation.reports.paired import PairedDifference, paired
from editcore.text.neutral import OURS, NeutralText, read_neutral
from editcore.tuning.common import Common, common_facts

__all__ = [
    "OURS",
    "Answer",
    "Answered",
    "Common",
    "Conversation",
    "DialogueMetric",
    "Drift",
    "Neutral",
    "NeutralText",
    "NothingAskedError",
    "PairedDifference",
    "Question",
    "Read",
    "Row",
    "Score",
    "Scored",
    "Unanswered",
    "Write",
    "case_to_json",
    "common_facts",
    "edit_prompt",
    "facts",
    "harmonic",
    "judged",
    "normal",
    "over_cases",
    "paired",
    "parse_case",
    "probes",
    "read_cases",
    "read_neutral",
    "row",
    "score",
    "summarise",
    "wilson",
    "write",
]
