"""Cases, metrics that ask questions, and reports of their rows."""

from editcore.evaluation.asking import AskingMetric, Conversation, NothingAskedError, Row, over_cases
from editcore.evaluation.case_rows import case_to_json
from editcore.evaluation.cases import parse_case, read_cases
from editcore.evaluation.intervals import normal, wilson
from editcore.evaluation.neutral import OURS, NeutralText, read_neutral
from editcore.evaluation.preference import harmonic
from editcore.evaluation.questions import Drift, Neutral, Question, Read, Score, Scored, Unanswered, Write, score, write
from editcore.evaluation.reports import summarise
from editcore.evaluation.rows import edit_prompt, facts, judged, probes, row

__all__ = [
    "OURS",
    "AskingMetric",
    "Conversation",
    "Drift",
    "Neutral",
    "NeutralText",
    "NothingAskedError",
    "Question",
    "Read",
    "Row",
    "Score",
    "Scored",
    "Unanswered",
    "Write",
    "case_to_json",
    "edit_prompt",
    "facts",
    "harmonic",
    "judged",
    "normal",
    "over_cases",
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
