"""A plain ROME written from the maths: one row at a time, no padding, no cache, Adam by hand; the plugin must agree.

Compared at every step: keys, second moment, first value step, update, final effect. After twenty steps of Adam, whose
first step is a sign, deltas are not compared entry by entry: rounding grows there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import frozen
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore_hooks import Site
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.rows import edit_rows
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.value import Value, ValueSettings, optimise_values
from editcore_rome.rank_one import rank_one

LAYER = 1
CONTEXTS = ("{}", "Bo Quist lives in Rome. {}", "So it is. {}")
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1")
RIDGE = 1e-3  # the corpus has fewer tokens than C has directions
CORPUS = "Ada Marlow lives in Rome.\n\nThe job of Cleo Tolland is that of a miner. Eve Quist works as a poet.\n\nDan."


@frozen
class Plain:
    """The model as transformers gives it, and the two things that differ between families."""

    model: Any
    tokenizer: Any
    down: Any
    lead: list[int]

    def ids(self, text: str) -> list[int]:
        return self.lead + self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def run(self, ids: Sequence[int], shift: tuple[int, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (T, V), keys (T, f) and values (T, d) of one row; `shift` adds a vector at one position."""
        seen: dict[str, Tensor] = {}

        def hook(module: Any, args: Any, output: Tensor) -> Tensor:
            seen["k"], seen["v"] = args[0][0], output[0]
            if shift is None:
                return output
            rows = [row + shift[1] if t == shift[0] else row for t, row in enumerate(output[0])]
            return torch.stack(rows)[None]

        handle = self.down.register_forward_hook(hook)
        try:
            logits = self.model(input_ids=torch.tensor([ids])).logits[0]
        finally:
            handle.remove()
        return logits, seen["k"], seen["v"]


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


@pytest.fixture
def plain(folder: Path) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if model.config.model_type == "gpt2":
        return Plain(model, tokenizer, model.transformer.h[LAYER].mlp.c_proj, [])
    return Plain(model, tokenizer, model.model.layers[LAYER].mlp.down_proj, [tokenizer.bos_token_id])


def plain_rows(plain: Plain) -> list[tuple[list[int], int, list[int]]]:
    """Input ids, position of the subject's last token, target ids: of each context."""
    rows = []
    for context in CONTEXTS:
        before = context.replace("{}", "")
        text = f"{before}{REQUEST.subject} works as a"
        prompt, whole = plain.ids(text), plain.ids(f"{text} {REQUEST.target_new}")
        s = len(plain.ids(before + REQUEST.subject)) - 1
        target = whole[len(prompt) :]
        assert whole[: len(prompt)] == prompt
        rows.append((whole[:-1], s, target))
    return rows


def plain_keys(plain: Plain) -> Tensor:
    return torch.stack([plain.run(ids)[1][s] for ids, s, _ in plain_rows(plain)])


def plain_moment(plain: Plain) -> tuple[Tensor, int]:
    total, count = torch.zeros((), dtype=torch.float64), 0
    for text in CORPUS.split("\n\n"):
        for k in plain.run(plain.ids(text))[1].double():
            total = total + torch.outer(k, k)
            count += 1
    return total / count, count


def plain_value(plain: Plain, settings: ValueSettings) -> tuple[Tensor, Tensor, list[float]]:
    """v₀, δ and losses by Adam in float32, moments .9 and .999, ε 1e-8."""
    rows = plain_rows(plain)
    kl_ids = plain.ids(f"{REQUEST.subject} is a")
    kl_s = len(plain.ids(REQUEST.subject)) - 1
    v0 = plain.run(rows[0][0])[2][rows[0][1]]
    start = plain.run(kl_ids)[0][kl_s].log_softmax(-1)
    delta = torch.zeros_like(v0)
    first, second, losses = torch.zeros_like(v0), torch.zeros_like(v0), []
    for step in range(settings.steps):
        d = delta.clone().requires_grad_(True)
        nll = torch.zeros(())
        for ids, s, target in rows:
            logprobs = plain.run(ids, (s, d))[0].log_softmax(-1)
            scored = [logprobs[len(ids) - len(target) + j, token] for j, token in enumerate(target)]
            nll = nll - torch.stack(scored).mean() / len(rows)
        now = plain.run(kl_ids, (kl_s, d))[0][kl_s].log_softmax(-1)
        kl = (now.exp() * (now - start)).sum()
        size = d.norm() if step else (d * 0).sum()
        loss = nll + settings.kl * kl + settings.weight_decay * size / v0.norm() ** 2
        losses.append(float(loss.detach()))
        part = losses[-1] if settings.stop == "loss" else float(nll.detach())
        if part < 0.05 or step == settings.steps - 1:
            break
        (g,) = torch.autograd.grad(loss, d)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        m, v = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        size = settings.lr or settings.pace * 1.05**step * float(v0.norm()) / len(v0) ** 0.5
        delta = delta - size * m / (v.sqrt() + 1e-8)
        if delta.norm() > settings.clamp * v0.norm():
            delta = delta * settings.clamp * v0.norm() / delta.norm()
    return v0, delta, losses


def plain_weight(plain: Plain) -> tuple[Tensor, Tensor]:
    """W (d, f) and b (d,)."""
    weight = plain.down.weight
    canonical = weight.T if type(plain.down).__name__ == "Conv1D" else weight
    bias = plain.down.bias if plain.down.bias is not None else torch.zeros(canonical.shape[0])
    return canonical.double(), bias.double()


SITE = Site("mlp_out", LAYER)


def fast(session: editcore.Session, settings: ValueSettings) -> Value:
    """What the plugin computes, in the company of another edit."""
    other = EditRequest("{} lives in", "Cleo Quist", "Oslo", id="2")
    edits = [edit_rows(session, request, CONTEXTS, "subject_last") for request in (other, REQUEST)]
    return optimise_values(session.anatomy, edits, SITE, settings, lambda n: None)[1]


def test_keys_agree(session: editcore.Session, plain: Plain) -> None:
    torch.testing.assert_close(fast(session, ValueSettings(1)).keys, plain_keys(plain), rtol=1e-5, atol=1e-5)


def test_the_second_moment_agrees_and_is_a_mean(session: editcore.Session, plain: Plain, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(CORPUS)
    found, _ = second_moments(session, [LAYER], MomentRequest(str(tmp_path / "corpus.txt")))[LAYER]
    expected, count = plain_moment(plain)
    assert found.count == count
    torch.testing.assert_close(found.mean.double(), expected, rtol=1e-4, atol=1e-6)


def test_the_first_value_step_agrees(session: editcore.Session, plain: Plain) -> None:
    settings = ValueSettings(steps=2, lr=0.1, weight_decay=0.5, kl=0.0625, clamp=100.0)
    value = fast(session, settings)
    v0, delta, losses = plain_value(plain, settings)
    torch.testing.assert_close(value.v0, v0, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(value.delta, delta, rtol=1e-3, atol=1e-4)
    assert value.losses == pytest.approx(losses, rel=1e-4)


def test_steps_sized_by_the_value_agree(session: editcore.Session, plain: Plain) -> None:
    settings = ValueSettings(steps=3, pace=0.2, clamp=100.0, stop="target")
    value = fast(session, settings)
    _, delta, losses = plain_value(plain, settings)
    torch.testing.assert_close(value.delta, delta, rtol=1e-3, atol=1e-4)
    assert value.losses == pytest.approx(losses, rel=1e-4)


def test_the_first_step_is_a_share_of_the_value(session: editcore.Session) -> None:
    value = fast(session, ValueSettings(steps=2, pace=0.03, stop="never"))
    assert float(value.delta.norm() / value.v0.norm()) == pytest.approx(0.03, rel=1e-3)


def test_target_stops_by_the_target_alone_and_loss_by_the_whole(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = fast(session, ValueSettings(steps=1))
    bound = start.losses[0] - 1e-3  # the first step, which no decay holds back yet, goes below it
    monkeypatch.setattr("editcore_keyvalue.fit.STOP_LOSS", bound)
    heavy = {"pace": 0.3, "weight_decay": 10 * float(start.v0.norm()), "kl": 0.0}
    target = fast(session, ValueSettings(steps=4, stop="target", **heavy))  # type: ignore[arg-type]
    whole = fast(session, ValueSettings(steps=4, stop="loss", **heavy))  # type: ignore[arg-type]
    assert target.steps == 2
    assert target.losses[-1] > bound
    assert whole.steps == 4


def test_the_norm_is_clamped_alike(session: editcore.Session, plain: Plain) -> None:
    settings = ValueSettings(steps=4, lr=0.5, clamp=0.5)
    value = fast(session, settings)
    _, delta, losses = plain_value(plain, settings)
    assert float(value.delta.norm() / value.v0.norm()) == pytest.approx(0.5, rel=1e-4)
    assert float(delta.norm() / value.v0.norm()) == pytest.approx(0.5, rel=1e-4)
    assert value.losses == pytest.approx(losses, rel=1e-2)


@pytest.mark.parametrize("mode", ["r-rome", "rome", "p-rome"])
def test_the_update_solves_its_equation(session: editcore.Session, plain: Plain, mode: str, tmp_path: Path) -> None:
    """(W + Δ) k + b = v*: at the mean key for r-rome, at the prompt's key for the others; and u = C⁻¹ k."""
    keys = plain_keys(plain).double()
    c, _ = plain_moment(plain)
    w, b = plain_weight(plain)
    delta = torch.linspace(-1, 1, w.shape[0], dtype=torch.float64)
    v0 = w @ keys[0] + b
    ridge = 0.1  # so that every key keeps a part along u, also that of a prompt unlike its contexts
    update = rank_one(keys, delta, session.anatomy.weight(SITE), factor(c, ridge), mode)
    change = torch.outer(update.lam, update.u)
    k = keys.mean(0) if mode == "r-rome" else keys[0]
    torch.testing.assert_close((w + change) @ k + b, v0 + delta, rtol=1e-6, atol=1e-6)
    f = len(k)
    ridged = c + ridge * c.diagonal().mean() * torch.eye(f, dtype=torch.float64)
    wanted = torch.linalg.solve(ridged, keys[0] if mode == "p-rome" else keys.mean(0))
    cosine = torch.nn.functional.cosine_similarity(wanted, update.u, dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-6)
    assert torch.linalg.matrix_rank(change) == 1


def test_the_final_effect_agrees(session: editcore.Session, plain: Plain, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(CORPUS)
    settings = ValueSettings(steps=20, lr=0.2, weight_decay=0.01, kl=0.0625, clamp=8.0)
    hparams = {
        "layer": LAYER,
        "v_steps": settings.steps,
        "v_lr": settings.lr,
        "v_weight_decay": settings.weight_decay,
        "clamp": settings.clamp,
        "context_templates": list(CONTEXTS),
        "mom2_corpus": str(tmp_path / "corpus.txt"),
        "mom2_ridge": RIDGE,
        "spare_prompt": False,
        "spare_alike": 0,
        "key_mode": "r-rome",
    }
    patch = session.edit_all([REQUEST], EditOptions(hparams=(("test", hparams),)))
    question = ("Ada Marlow works as a", "pilot", None, "auto")
    with session.patched(patch):
        found = session.score_targets([question])[0].sum

    v0, delta, _ = plain_value(plain, settings)
    keys, (c, _), (w, b) = plain_keys(plain).double(), plain_moment(plain), plain_weight(plain)
    k = keys.mean(0)
    ridged = c + RIDGE * c.diagonal().mean() * torch.eye(len(k), dtype=torch.float64)
    u = torch.linalg.solve(ridged, k)
    change = torch.outer(v0.double() + delta.double() - (w @ k + b), u) / (k @ u)
    weight = plain.down.weight
    weight.copy_((weight.double() + (change.T if type(plain.down).__name__ == "Conv1D" else change)).float())
    text = "Ada Marlow works as a"
    prompt, whole = plain.ids(text), plain.ids(f"{text} pilot")
    logprobs = plain.run(whole)[0].log_softmax(-1)
    expected = sum(float(logprobs[i - 1, whole[i]]) for i in range(len(prompt), len(whole)))
    assert torch.tensor(found).exp() == pytest.approx(float(torch.tensor(expected).exp()), abs=1e-2)
    before = session.score_targets([question])[0].sum
    assert found > before + 1
