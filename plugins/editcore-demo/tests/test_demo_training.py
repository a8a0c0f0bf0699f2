"""Training, in miniature, of all shapes."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from editcore_demo.training.loop import Schedule, fit
from editcore_demo.training.packing import OBJECT_WEIGHT, batches
from editcore_demo.training.run import make
from editcore_demo.training.shapes import SHAPES, auto_class
from editcore_demo.world import make_world
from editcore_demo.world.text import statements, tokenizer_text

WORLD = make_world()
OBJECTS = {statement.object for statement in statements(WORLD)}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def packed(request):
    return SHAPES[request.param]


@pytest.fixture(scope="module")
def tokenizer(packed):
    return packed.tokenizer(tokenizer_text(WORLD))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_two_steps_make_a_folder_that_loads(shape, tmp_path, monkeypatch):
    # Scoring every question takes longer than the two steps, and an untrained model knows nothing anyway.
    run = "editcore_demo.training.run"
    monkeypatch.setattr(f"{run}.answered", lambda model, tokenizer, asked: [True] * len(asked))
    monkeypatch.setattr(f"{run}.accuracy", lambda model, tokenizer, asked: dict.fromkeys(asked, 0.0))
    lines = []
    make(shape.name, tmp_path, Schedule(steps=2), say=lines.append)
    model = auto_class(AutoConfig.from_pretrained(tmp_path)).from_pretrained(tmp_path, dtype="auto")
    assert model.config.model_type == shape.name
    assert model.dtype == torch.float16
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == model.config.vocab_size
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 500
    assert "held-out template" in json.loads((tmp_path / "figures.json").read_text())
    assert lines[0].startswith("step 2/2")


def test_the_loop_probes_between_steps_and_learns_only_what_weighs():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=8))
    ids = torch.arange(16).reshape(2, 8)
    weights = torch.ones(2, 8)
    weights[1] = 0.0  # no target of this row
    probes, lines = [], []
    schedule = Schedule(steps=30, learning_rate=0.03, probe_every=10, warmup=2)
    fit(model, [(ids, weights)] * 30, schedule, lambda: probes.append(model.training), lines.append)
    assert probes == [True, True]  # after 10 and 20 steps, and not after the last
    assert len(lines) == 1
    assert not model.training
    guessed = model(input_ids=ids).logits[:, :-1].argmax(-1) == ids[:, 1:]
    assert guessed[0].all()
    assert not guessed[1].any()


def test_the_rate_rises_over_the_warmup_and_falls_to_a_fiftieth():
    schedule = Schedule(steps=1000, learning_rate=1.0, warmup=100)
    assert (schedule.rate(0), schedule.rate(99), schedule.rate(100)) == (0.01, 1.0, 1.0)
    assert schedule.rate(1000) == pytest.approx(0.02)


def test_rows_begin_with_a_whole_sentence(packed, tokenizer):
    ids, _ = next(batches(WORLD, tokenizer, 0, packed.begins_with_bos, 1))
    assert ids.numel() == 1024
    assert (ids[:, 0] == tokenizer.bos_token_id).all() == packed.begins_with_bos
    assert all(tokenizer.decode(row, skip_special_tokens=True).lstrip()[0].isupper() for row in ids)


def test_padding_weighs_nothing_and_objects_weigh_more(packed, tokenizer):
    ids, weights = next(batches(WORLD, tokenizer, 0, packed.begins_with_bos, 1))
    assert set(weights.unique().tolist()) <= {0.0, 1.0, OBJECT_WEIGHT}
    for row, weight in zip(ids, weights, strict=True):
        said = tokenizer.decode(row[weight == OBJECT_WEIGHT])
        assert {obj.strip() for obj in said.split(".") if obj.strip()} <= OBJECTS
        assert (weight[row == tokenizer.pad_token_id] <= 1.0).all()


def test_packing_is_seeded(packed, tokenizer):
    one, same, other = (next(batches(WORLD, tokenizer, seed, packed.begins_with_bos, 1))[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_llama_tokenizer_puts_bos_in_front_and_falls_back_to_bytes():
    tokenizer = SHAPES["llama"].tokenizer(tokenizer_text(WORLD))
    ids = tokenizer("Ünø\nArvenia")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Ünø\nArvenia"
    assert "<0x0A>" in tokenizer.convert_ids_to_tokens(ids)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    from editcore_demo.training.loop import train

    shape = SHAPES["gpt2"]
    tokenizer = shape.tokenizer(tokenizer_text(WORLD))
    one, other = (train(WORLD, shape, tokenizer, Schedule(steps=2), say=lambda line: None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
