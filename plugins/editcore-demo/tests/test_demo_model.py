"""The bundled model: knows its world from 16-bit weights, loads by the ordinary classes, and is small."""

import subprocess
import sys
from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import editcore_demo
from editcore_demo.training.scoring import accuracy, questions
from editcore_demo.world import make_world

WORLD = make_world()
SAMPLE = 250


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(editcore_demo.model_path())


@pytest.fixture(scope="module")
def knowledge(tokenizer):
    model = AutoModelForCausalLM.from_pretrained(editcore_demo.model_path(), dtype=torch.float32)
    return accuracy(model, tokenizer, questions(WORLD), most=SAMPLE)


def test_the_model_knows_its_facts_by_trained_templates(knowledge):
    assert knowledge["trained template"] >= 0.90


def test_the_model_knows_its_facts_by_held_out_templates(knowledge):
    assert knowledge["held-out template"] >= 0.85


def test_tokenizer_gives_back_what_it_took(tokenizer):
    for text in ("The capital of Arvenia is", " Two  blanks\nand a line.", "Ünø – 東京"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_names_are_several_tokens(tokenizer):
    lengths = Counter(len(tokenizer(" " + name)["input_ids"]) for name in WORLD.entities["person"])
    assert min(lengths) >= 2
    assert sum(n for length, n in lengths.items() if length >= 3) > len(WORLD.entities["person"]) / 2


def test_objects_of_a_relation_differ_in_their_first_token(tokenizer):
    for kind in set(WORLD.entities) - {"person", "work"}:
        first = [tokenizer(" " + obj)["input_ids"][0] for obj in WORLD.entities[kind]]
        assert len(set(first)) == len(first)


def test_the_folder_is_small():
    assert sum(f.stat().st_size for f in editcore_demo.model_path().iterdir()) <= 17_000_000


def test_importing_the_package_does_not_import_torch():
    code = "import sys, editcore_demo, editcore_demo.world.cases; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
