"""Knowledge Neurons against a plain one: one row, one α, one whole forward at a time; and its parts by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.authoring.models import Place, Tap, Trace
from editcore.models.tokens.spans import encode_request
from editcore.session.talk import Silence
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION, tiny_model
from editcore_hooks import EditcoreError, Location, LowRank, Site
from editcore_kn.attribution import attributions
from editcore_kn.hparams import KnHparams
from editcore_kn.method import answer_direction, compute, old_answer, prompts_of, value_update
from editcore_kn.scale import SCALES, least_scale
from editcore_kn.selection import common, shared, strong

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", "baker in Oslo", id="1")
DECODERS = [family for family in FAMILIES if not family.startswith("t5") and family not in LINEAR_ATTENTION]
STEPS = 3


def read(session: editcore.Session) -> tuple[tuple[int, ...], tuple[int, ...]]:
    encoded = encode_request(session.tokenizer, evolve(REQUEST, target_new="baker in Oslo"))
    return encoded.prompt_ids, encoded.target_ids


def plain_attribution(
    session: editcore.Session, prompt: Any, answer: Any, site: Site, steps: int
) -> tuple[Tensor, float]:
    """Attr (f,), and P(1) − P(0), both as means over the tokens of the answer."""
    module = session.anatomy.module(site)
    total, difference = torch.zeros(session.anatomy.mlp_width), 0.0
    for j, token in enumerate(answer):
        ids = torch.tensor([[*prompt, *answer[:j]]])
        kept: dict[str, Tensor] = {}

        def run(alpha: float, ids: Tensor = ids, token: int = token, kept: dict[str, Tensor] = kept) -> Tensor:
            def scale(module: Any, args: Any) -> Any:
                units = args[0].detach().clone()
                kept["a"] = units.reshape(-1, units.shape[-1])[-1].clone()
                kept["leaf"] = (alpha * kept["a"]).requires_grad_()
                flat = list(units.reshape(-1, units.shape[-1]))
                flat[-1] = kept["leaf"]
                return (torch.stack(flat).reshape(units.shape), *args[1:])

            handle = module.register_forward_pre_hook(scale)
            try:
                return session.model(input_ids=ids, use_cache=False).logits[0, -1].float().softmax(-1)[token]  # type: ignore[no-any-return]
            finally:
                handle.remove()

        for k in range(steps):
            (gradient,) = torch.autograd.grad(run(k / steps), kept["leaf"])
            total += kept["a"] * gradient / steps / len(answer)
        difference += float((run(1.0) - run(0.0)).detach()) / len(answer)
    return total, difference


@pytest.mark.parametrize("family", DECODERS)
def test_attributions_are_those_of_plain_forwards(family: str, tmp_path: Path) -> None:
    session = editcore.open(tiny_model(family, tmp_path))
    prompt, answer = read(session)
    sites = [Site("mlp_out", layer) for layer in (0, 2)]
    found = attributions(session, prompt, answer[:2], sites, STEPS, rows_per_batch=2)
    for row, site in zip(found, sites, strict=True):
        wanted, _ = plain_attribution(session, prompt, answer[:2], site, STEPS)
        torch.testing.assert_close(row, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
        assert float(wanted.abs().max()) > 0


def test_attributions_of_a_layer_add_up_to_what_its_units_do(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    prompt, answer = read(session)
    site = Site("mlp_out", 1)
    _, difference = plain_attribution(session, prompt, answer[:1], site, 1)
    errors = []
    for steps in (10, 100):
        (found,) = attributions(session, prompt, answer[:1], [site], steps, 512)
        errors.append(abs(float(found.sum()) - difference))
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.1 * abs(difference)


def test_a_unit_is_strong_by_the_largest_of_all_layers() -> None:
    attribution = torch.tensor([[1.0, 0.3, -2.0], [0.1, 0.21, 0.0]])
    assert strong(attribution, 0.2) == {(0, 0), (0, 1), (1, 1)}
    assert strong(-attribution.abs(), 0.2) == set()


@pytest.mark.parametrize(
    ("counts", "share", "units", "found"),
    [
        ({"a": 10, "b": 8, "c": 7, "d": 5}, 0.7, "abc", 0.7),  # between two and five
        ({"a": 10, "b": 6, "c": 1}, 0.7, "ab", 0.6),  # too few: lowered until there are two
        (dict.fromkeys("abcdefg", 8) | {"h": 10, "i": 10}, 0.7, "hi", 0.85),  # too many: raised
        (dict.fromkeys("abcdefg", 8), 0.7, "abcdefg", 0.8),  # raised no further than to where none is left
    ],
)  # fmt: skip
def test_units_are_shared_by_prompts(counts: dict[str, int], share: float, units: str, found: float) -> None:
    letters = {letter: (0, i) for i, letter in enumerate("abcdefghi")}
    prompts = [{letters[letter] for letter, n in counts.items() if i < n} for i in range(10)]
    chosen = shared(prompts, share, fewest=2, most=5)
    assert chosen.units == tuple(letters[letter] for letter in units)
    assert chosen.share == pytest.approx(found)


def test_the_share_is_moved_six_times_at_most() -> None:
    chosen = shared([{(0, 1)}, *[set()] * 9], 0.7, fewest=2, most=5)
    assert chosen.units == ()
    assert chosen.share == pytest.approx(0.4)


def test_units_of_many_other_subjects_are_theirs() -> None:
    others = [{(0, 1), (0, 2)}, {(0, 1)}, *[set()] * 8]
    assert common(others, 0.1) == {(0, 1)}  # one of ten is not more than a tenth
    assert common(others, 0.0) == {(0, 1), (0, 2)}
    assert common([], 0.1) == set()


def test_units_of_other_subjects_are_left_alone(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    asked = {"steps": STEPS, "context_count": 0, "threshold": 0.02}
    alone, spared = (units(session, {**asked, "others": others}) for others in ([], ["Ben Tarrow", "Ada Marlow"]))
    prompt = encode_request(session.tokenizer, evolve(REQUEST, subject="Ben Tarrow")).prompt_ids
    sites = [Site("mlp_out", layer) for layer in range(session.anatomy.n_layers)]
    answer = old_answer(session, evolve(REQUEST, subject="Ben Tarrow", target_true=None))
    theirs = {
        (str(sites[i]), unit)
        for i, unit in strong(attributions(session, prompt, answer, sites, STEPS, 512), asked["threshold"])
    }
    assert alone & theirs
    assert spared
    assert spared == alone - theirs  # the subject's own name is no other


def test_where_all_units_are_those_of_others_they_are_changed_all_the_same(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    session = editcore.open(llama_folder)
    session.talk = Told(said)
    every = {(i, j) for i in range(session.anatomy.n_layers) for j in range(session.anatomy.mlp_width)}
    monkeypatch.setattr("editcore_kn.method.common", lambda others, share: every if others else set())
    asked = {"steps": STEPS, "context_count": 0}
    alone = units(session, asked)
    assert not said
    assert units(session, {**asked, "others": ["Ben Tarrow"]}) == alone
    assert "Ada Marlow alone" in said[0]


class Told(Silence):
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)


def units(session: editcore.Session, hparams: dict[str, Any]) -> set[tuple[str, int]]:
    patch = session.edit_all([REQUEST], EditOptions("kn", hparams=(("test", hparams),)))
    return {(site, unit) for site, unit in patch.about["notes"][0]["units"]}


@pytest.mark.parametrize("operation", ["replace", "suppress", "enhance"])
def test_value_vectors_become_what_the_paper_says(llama_folder: Path, operation: Any) -> None:
    session = editcore.open(llama_folder)
    hparams = KnHparams(operation=operation)
    weight = session.anatomy.weight(Site("mlp_out", 1))
    direction = answer_direction(session, [40], [50], hparams) if operation == "replace" else None
    update = value_update(weight, [3, 7], direction, weight.norm(dim=0), hparams)
    edited = weight + update.out @ update.in_
    head = session.model.lm_head.weight
    for unit in (3, 7):
        v = weight[:, unit]
        new, old = (head[token] / head[token].norm() * v.norm() for token in (40, 50))
        wanted = {"replace": v - old + 8 * new, "suppress": 0 * v, "enhance": 2 * v}[operation]
        torch.testing.assert_close(edited[:, unit], wanted, rtol=1e-5, atol=1e-6)
    others = [unit for unit in range(weight.shape[1]) if unit not in (3, 7)]
    assert torch.equal(edited[:, others], weight[:, others])


def test_every_unit_adds_the_new_answer_also_where_it_is_below_zero(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    sites = tuple(Site("mlp_out", layer) for layer in range(session.anatomy.n_layers))
    found = compute(session, REQUEST, Location(sites), KnHparams(steps=STEPS, context_count=0, fewest=8, most=40))
    prompt, _ = read(session)
    taps: dict[Place, Tap] = {site: Tap(input=True) for site in sites}
    with torch.no_grad(), Trace(session.anatomy, taps) as trace:
        session.model(torch.tensor([prompt]))
    negative = 0
    for site, update in found.tensors.items():
        units = trace.input(site)[0, -1]  # (f,)
        chosen = update.in_[0].nonzero()[:, 0]
        negative += int((units[chosen] < 0).sum())
        assert bool((update.in_[0, chosen] * units[chosen] > 0).all())  # Δ a = g Σ sᵢ aᵢ goes along g
    assert negative


def plainly_answered(session: editcore.Session, patch: editcore.Patch, target: Any) -> bool:
    """Whether the model, with the patch in its weights, writes the target token by token after the prompt."""
    prompt, _ = read(session)
    with session.patched(patch):
        logits = session.model(torch.tensor([[*prompt, *target]])).logits[0]
    return logits[len(prompt) - 1 : -1].argmax(-1).tolist() == list(target)


def test_the_scale_is_the_least_with_which_the_target_is_the_answer(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    target = encode_request(session.tokenizer, REQUEST).target_ids
    asked = {"steps": STEPS, "context_count": 0, "most": 40}
    patches = {
        scale: session.edit_all([REQUEST], EditOptions("kn", hparams=(("test", {**asked, "scale": scale}),)))
        for scale in SCALES
    }
    right = [scale for scale, patch in patches.items() if plainly_answered(session, patch, target)]
    assert right
    found = session.edit_all([REQUEST], EditOptions("kn", hparams=(("test", asked),)))
    assert found.about["notes"][0]["scale"] == right[0]
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in patches[right[0]].tensors.items())


def test_where_no_scale_gives_the_target_it_is_the_likeliest(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    (target,) = encode_request(session.tokenizer, REQUEST).target_ids[:1]
    site = Site("mlp_out", 1)
    out = torch.randn(session.anatomy.hidden_size, 1, generator=torch.Generator().manual_seed(0))
    size = torch.full((1, session.anatomy.mlp_width), 1e-3)

    def updates(scale: float) -> dict[Site, LowRank]:
        return {site: LowRank(scale * out, size)}

    prompt, _ = read(session)
    likelihood = {}
    for scale in SCALES:
        weight = session.anatomy.weight(site)
        kept = weight.clone()
        weight.add_(scale * out @ size)
        logits = session.model(torch.tensor([prompt])).logits[0, -1]
        weight.copy_(kept)
        assert int(logits.argmax()) != target
        likelihood[scale] = float(logits.log_softmax(-1)[target])
    assert least_scale(session, REQUEST, [target], updates) == max(likelihood, key=likelihood.__getitem__)


def test_a_unit_that_is_edited_again_is_changed_by_no_more_than_at_first(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    asked = EditOptions("kn", hparams=(("test", {"steps": STEPS, "context_count": 0}),))
    sizes = {key: weight.norm(dim=0) for key, weight in session.model.named_parameters() if "down_proj" in key}
    seen: list[tuple[str, int]] = []
    for target in ("pilot", "nurse", "tailor"):
        patch = session.edit_all([evolve(REQUEST, target_new=target)], asked)
        seen += [tuple(unit) for unit in patch.about["notes"][0]["units"]]
        for key in patch.targets:
            before = session.model.get_parameter(key).clone()
            with session.patched(patch):
                change = (session.model.get_parameter(key) - before).norm(dim=0)
            assert float((change - 9 * sizes[key]).max()) < 1e-3  # ‖8 ê(new) − ê(old)‖ is 9 at most
        session.apply(patch)
    assert len(set(seen)) < len(seen)


def test_given_prompts_are_asked_in_place_of_contexts(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    asked = prompts_of(session, REQUEST, KnHparams(prompts=("The job of {} is that of a",)))
    assert [one.rendered().text for one in asked] == ["Ada Marlow works as a", "The job of Ada Marlow is that of a"]
    contexts = prompts_of(session, REQUEST, KnHparams(context_count=2))
    assert len(contexts) == 3
    assert contexts[0] == REQUEST


def test_a_layer_can_be_named_by_a_location_and_units_elsewhere_are_left(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    patch = session.edit_all([REQUEST], EditOptions("kn", hparams=(("test", {"steps": 5, "context_count": 0}),)))
    units = patch.about["notes"][0]["units"]
    assert units
    touched = {f"model.layers.{site.split('.')[1]}.mlp.down_proj.weight" for site, _ in units}
    assert set(patch.targets) == touched


def test_a_location_outside_the_mlp_is_refused(llama_folder: Path) -> None:
    from editcore_kn.method import compute

    session = editcore.open(llama_folder)
    with pytest.raises(EditcoreError, match="down projection") as caught:
        compute(session, REQUEST, Location((Site("attn_out", 1),)), KnHparams())
    assert caught.value.hint


def test_suppressing_makes_the_answer_less_likely(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    request = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
    said = session.generate("Ada Marlow works as a", 3)
    answer = said.strip().split(".")[0]
    question = ("Ada Marlow works as a", answer, None, "auto")
    before = session.score_targets([question])[0].sum  # type: ignore[list-item]
    patch = session.edit_all([request], EditOptions("kn", hparams=(("test", {"operation": "suppress"}),)))
    with session.patched(patch):
        assert session.score_targets([question])[0].sum < before  # type: ignore[list-item]
