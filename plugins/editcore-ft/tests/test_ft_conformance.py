"""FT, FT-L and FT-M keep to what every method must keep to, also where contexts and texts are sampled."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model


class TestFt(MethodConformance):
    method = "ft"
    hparams = {"layers": [1], "lr": 2e-3, "steps": 5}


class TestFtL(MethodConformance):
    method = "ft-l"
    hparams = {"layers": [1, 2], "linf_radius": 2e-3, "lr": 2e-3, "steps": 5}


class TestFtM(MethodConformance):
    method = "ft-m"
    hparams = {"layers": [1], "lr": 2e-3, "steps": 5, "rank": 8}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestFtT(MethodConformance):
    method = "ft-t"
    hparams = {"layers": [1], "lr": 2e-3, "steps": 5}


class TestLocft(MethodConformance):
    method = "locft"
    hparams = {"role": "block", "layers": [1], "lr": 1e-3, "steps": 5, "batch_size": 2}


@pytest.mark.thorough
class TestFtMWithDivergence(MethodConformance):
    method = "ft-m"
    hparams = {
        "layers": [1], "lr": 2e-3, "steps": 5, "constraint": "kl", "kl_count": 4, "context_count": 2, "batch_size": 2,
    }  # fmt: skip
