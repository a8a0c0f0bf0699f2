"""LoRA and AdaLoRA keep to what every method must keep to, on a Llama-like and a GPT-2-like model and on T5."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model


class TestLora(MethodConformance):
    method = "lora"
    hparams = {"layers": [1], "rank": 4, "lr": 2e-3, "steps": 5, "dropout": 0.1}


class TestAdaLora(MethodConformance):
    method = "adalora"
    hparams = {
        "layers": [1, 2], "roles": ["mlp_out", "attn_out"], "rank": 2, "initial_rank": 4, "lr": 1e-2, "steps": 10,
        "context_count": 1,
    }  # fmt: skip

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestLoraOfT5(TestLora):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)


@pytest.mark.thorough
class TestAdaLoraOfT5(TestAdaLora):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
