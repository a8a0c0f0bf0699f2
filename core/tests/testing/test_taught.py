"""Taught models are the same on every machine, and know what they were taught, whatever does the arithmetic."""

import hashlib

import pytest
import torch
from safetensors.numpy import load_file

from editcore.models.loading.loader import load
from editcore.testing import taught
from editcore.testing.teaching import teach
from editcore_hooks import UsageError

BYTES = {
    "gpt2": "4e08857b94138740e63ddc4f771a870aa163b171b174def8df7a1a104e30ea82",
    "llama": "cc6efae5cfc985229e987a353de195623bfdfdb69f455c0f08cc390215a01bc8",
}
MARGIN = 1.5
"""In nats. Kernels differ by less than 1e-3 in these logits."""


@pytest.fixture(scope="module", params=taught.TAUGHT)
def written(request, tmp_path_factory):
    return request.param, taught.taught_model(request.param, tmp_path_factory.mktemp(request.param))


def test_the_weights_have_the_same_bytes_on_every_machine(written):
    family, folder = written
    weights = load_file(folder / "model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"float32"}
    found = hashlib.sha256()
    for key in sorted(weights):
        found.update(key.encode() + weights[key].tobytes())
    assert found.hexdigest() == BYTES[family]


def test_every_fact_is_known_by_a_margin_that_no_arithmetic_eats(written):
    loaded = load(written[1])
    asked = [
        (template.format(name), thing, taught.CITIES if relation == "city" else taught.TRADES)
        for name, relation, thing in taught.facts()
        for template in taught.TEMPLATES[relation]
    ]
    for prompt, thing, others in asked:
        first = {
            other: loaded.tokenizer(f"{prompt} {other}")["input_ids"][len(loaded.tokenizer(prompt)["input_ids"])]
            for other in others
        }
        with torch.no_grad():
            logits = loaded.model(input_ids=torch.tensor([loaded.tokenizer(prompt)["input_ids"]])).logits[0, -1]
        rest = max(float(logits[token]) for other, token in first.items() if other != thing)
        assert float(logits[first[thing]]) - rest > MARGIN, prompt


def test_what_is_kept_is_small():
    sizes = [path.stat().st_size for path in taught.KEPT.rglob("*") if path.is_file()]
    assert max(sizes) < 500_000


def test_a_model_can_be_taught_sentences_of_your_own(tmp_path):
    before = torch.random.get_rng_state()
    folder = teach("llama", tmp_path, ["Ann lives in Bonn.", "Bob lives in Kiel."], steps=60)
    assert torch.equal(torch.random.get_rng_state(), before)
    loaded = load(folder)
    prompt = loaded.tokenizer("Ann lives in", return_tensors="pt")["input_ids"]
    expected = loaded.tokenizer("Ann lives in Bonn")["input_ids"]
    with torch.no_grad():
        assert int(loaded.model(input_ids=prompt).logits[0, -1].argmax()) == expected[prompt.shape[1]]


@pytest.mark.parametrize("make", [taught.taught_model, teach])
def test_another_family_is_refused_by_name(make, tmp_path):
    with pytest.raises(UsageError, match="there is no taught model of 'bert'") as refused:
        make("bert", tmp_path)
    assert "choose one of gpt2, llama" in str(refused.value)
