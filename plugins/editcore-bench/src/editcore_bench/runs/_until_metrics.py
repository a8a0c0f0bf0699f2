from statistics import fmean
from editcore.evaluation.intervals import wilson
from editcore.editing.behaviour import questions, answers as texts
from editcore_hooks import Report, UsageError


def evaluate(session, cases, metrics, protocol="", answers=0):
    after = dict(zip([(q.case, q.prompt) for q, _ in questions(cases)], texts(session, cases, answers)))
    with session.at_base():
        before = dict(zip([(q.case, q.prompt) for q, _ in questions(cases)], texts(session, cases, answers)))
    about = {(q.case, q.prompt): q.about for q, _ in questions(cases)}
    out = []
    for m in metrics:
        try:
            (r,) = session.evaluate(cases, [m])
        except UsageError:
            continue
        rows = []
        for row in r.rows:
            k = (row["case"], row["prompt"])
            rows.append({"case": row["case"], "about": about[k], "prompt": row["prompt"], "target": row.get("target_true") if "ns" in m else row.get("target_new"), "value": row["value"], "answer_before": before[k], "answer_after": after[k]})
        out.append(Report(m, r.value, r.n, r.low, r.high, tuple(rows)))
    return out


def evaluate_each(session, cases, patches, metrics, answers=0):
    out = []
    for c, p in zip(cases, patches):
        with session.patched(p):
            out += evaluate(session, [c], metrics, "single", answers)
    return out


def summarise(metric, rows):
    by = {}
    for r in rows:
        if r["metric"] == metric and r["value"] is not None:
            by.setdefault(r["case"], []).append(r["value"])
    if not by:
        raise UsageError("nothing")
    v = fmean(map(fmean, by.values()))
    return Report(metric, v, len(by), *wilson(v, len(by)))
