"""The loop that trains editors, with a learner that is a straight line: resumed to the same bits, stopped in time."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import define, field
from torch import Tensor, nn

import editcore
from editcore.assets.store import AssetStore
from editcore.training import loop
from editcore.training.keeping import find_trained
from editcore.training.loop import fit
from editcore.training.order import Order, held_out
from editcore.training.plan import Plan, plan_of
from editcore_hooks import Case, EditcoreError, EditRequest, RefusedFileError, UsageError, WrongBaseError

CASES = [Case(EditRequest("{} works as a", f"Ada {i}", "pilot", id=str(i))) for i in range(40)]
PLAN = Plan(steps=12, batch=4, warmup=2, every=3, validation=8)


@define(eq=False)
class Line:
    """y = a x + b of the number of a case, with noise that the generator of the step draws."""

    session: editcore.Session
    dies_at: int = -1
    bad_from: int = 10**9
    falls: bool = False
    owner: str = "editcore"
    method: str = "line"
    figures: Mapping[str, Any] = field(factory=lambda: {"score": "higher", "error": "lower"})
    line: nn.Linear = field(factory=lambda: nn.Linear(1, 1))
    portions: list[list[int]] = field(factory=list)
    measured: int = 0
    prepared: int = 0

    def __attrs_post_init__(self) -> None:
        with torch.no_grad():
            self.line.weight.fill_(0.5)
            self.line.bias.fill_(-0.5)

    def module(self) -> nn.Module:
        return self.line

    def settings(self) -> Mapping[str, Any]:
        return {"falls": self.falls}

    def prepare(self, cases: Sequence[Case]) -> None:
        self.prepared += 1

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.line.parameters(), lr=0.05)

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        if len(self.portions) == self.dies_at:
            raise KeyboardInterrupt
        numbers = [int(case.request.id) for case in cases]
        self.portions.append(numbers)
        x = torch.tensor([[n / 40] for n in numbers])
        noise = rng.gauss(0, 0.01)
        loss = ((self.line(x) - 2 * x - 1 - noise) ** 2).mean()
        if len(self.portions) > self.bad_from:
            loss = loss * float("nan")
        (share * loss).backward()
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        self.measured += 1
        x = torch.tensor([[int(case.request.id) / 40] for case in cases])
        error = float(((self.line(x) - 2 * x - 1) ** 2).mean())
        return {"score": -float(self.measured) if self.falls else 1 - error, "error": error}

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        pass


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path / "assets"))


def trained(session: editcore.Session, line: Line, plan: Plan = PLAN) -> Mapping[str, Tensor]:
    return session.assets.load(fit(session, line, CASES, plan))


def test_a_killed_training_is_resumed_to_the_same_bits(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)  # a work file after each step
    whole = editcore.open(llama_folder, assets=AssetStore(tmp_path / "whole"))
    asset = fit(whole, Line(whole), CASES, PLAN)
    session = editcore.open(llama_folder, assets=AssetStore(tmp_path / "killed"))
    for step in (1, 4, 3):  # in the first stretch, between two measurements, and just after one
        with pytest.raises(KeyboardInterrupt):
            fit(session, Line(session, dies_at=step), CASES, PLAN)
    last = Line(session)
    resumed = fit(session, last, CASES, PLAN)
    assert len(last.portions) == PLAN.steps - 8
    assert last.prepared == 0
    assert resumed.sha256 == asset.sha256
    assert session.assets.about(resumed)["curve"] == whole.assets.about(asset)["curve"]


def test_the_same_training_is_found_and_not_repeated(session: editcore.Session) -> None:
    first = fit(session, Line(session), CASES, PLAN)
    again = Line(session)
    assert fit(session, again, CASES, PLAN) == first
    assert again.portions == []
    assert fit(session, Line(session), CASES[1:], PLAN).sha256 != first.sha256


def test_portions_added_up_are_one_large_portion(session: editcore.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random.Random, "gauss", lambda *_: 0.0)
    large = trained(session, Line(session), Plan(steps=6, batch=8, every=6, validation=8))
    small = trained(session, Line(session), Plan(steps=6, batch=2, accumulate=4, every=6, validation=8))
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-5)


def test_the_best_of_a_figure_that_should_be_high_is_kept(session: editcore.Session) -> None:
    line = Line(session, falls=True)
    asset = fit(session, line, CASES, Plan(steps=30, batch=4, every=1, validation=8, patience=3))
    about = session.assets.about(asset)
    assert about["kept"] == {"step": 1, "figure": "score", "value": -1.0}
    assert (about["stopped_early"], about["steps"]) == (True, 4)


def test_another_figure_decides_where_it_is_named(session: editcore.Session) -> None:
    plan = Plan(steps=6, batch=4, every=1, validation=8, stop_on="error", warmup=0)
    about = session.assets.about(fit(session, Line(session, falls=True), CASES, plan))
    errors = [row["figures"]["error"] for row in about["curve"]]
    assert about["kept"]["value"] == min(errors)
    assert about["kept"]["step"] == 1 + errors.index(min(errors))


def test_a_step_with_gradients_that_are_not_finite_is_left_out(session: editcore.Session) -> None:
    line = Line(session, bad_from=9)
    asset = fit(session, line, CASES, PLAN)
    assert session.assets.about(asset)["skipped_steps"] == 3
    assert all(bool(torch.isfinite(value).all()) for value in session.assets.load(asset).values())
    with pytest.raises(EditcoreError, match="not finite"):
        fit(session, Line(session, bad_from=0), CASES, Plan(steps=50, batch=4, every=50, validation=8))


@pytest.mark.parametrize(
    ("cases", "plan", "message"),
    [(CASES[:3], PLAN, "too few"), (CASES, Plan(stop_on="speed"), "no figure 'speed'")],
)
def test_what_cannot_be_trained_is_refused(
    session: editcore.Session, cases: Sequence[Case], plan: Plan, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fit(session, Line(session), cases, plan)


@pytest.mark.parametrize("values", [{"steps": 0}, {"speed": 1}, {"decay": "steep"}])
def test_plans_are_checked(values: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan_of(("options", values))


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 10), (7, 16), (1, 1)])
def test_no_case_is_left_over_and_no_pass_repeats_one(n: int, size: int) -> None:
    order = Order(n, size, seed=0)
    taken = min(size, n)
    drawn = [i for portion in range(n) for i in order.portion(portion)]  # `taken` whole passes
    for start in range(0, taken * n, n):
        assert sorted(drawn[start : start + n]) == list(range(n))
    assert Order(n, size, seed=0).portion(n - 1) == order.portion(n - 1)


def test_held_out_cases_are_apart() -> None:
    trained_on, shown = held_out(40, 8, seed=0)
    assert (len(trained_on), len(shown)) == (32, 8)
    assert sorted(trained_on + shown) == list(range(40))
    assert len(held_out(8, 96, seed=0)[1]) == 2


def test_a_trained_asset_is_found_in_the_cache_and_in_a_file(session: editcore.Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not trained"):
        find_trained(session, "editcore", "line")
    first = fit(session, Line(session), CASES, PLAN)
    newest = fit(session, Line(session, falls=True), CASES, PLAN)
    assert find_trained(session, "editcore", "line").asset in (first, newest)
    copy = tmp_path / "line.safetensors"
    copy.write_bytes(first.path.read_bytes())
    assert find_trained(session, "editcore", "line", str(copy)).asset.sha256 == first.sha256
    with pytest.raises(RefusedFileError, match="holds no trained other"):
        find_trained(session, "editcore", "other", str(copy))
    with pytest.raises(UsageError, match="there is no file"):
        find_trained(session, "editcore", "line", str(tmp_path / "none"))
    broken = bytearray(copy.read_bytes())
    broken[-1] ^= 1
    copy.write_bytes(broken)
    with pytest.raises(RefusedFileError, match="was changed"):
        find_trained(session, "editcore", "line", str(copy))


def test_a_trained_asset_of_another_base_is_refused(session: editcore.Session, gpt2_folder: Path) -> None:
    asset = fit(session, Line(session), CASES, PLAN)
    other = editcore.open(gpt2_folder, assets=session.assets)
    with pytest.raises(WrongBaseError, match="another base"):
        find_trained(other, "editcore", "line", str(asset.path))
    with pytest.raises(UsageError, match="not trained"):
        find_trained(other, "editcore", "line")
