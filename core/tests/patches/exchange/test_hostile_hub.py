"""A hub that means harm: it chooses no path, and a download ends at its limits."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session, constants

from editcore.models.loading.source import find
from editcore.patches.exchange.fetching import Limits
from editcore.patches.exchange.hub import pull_file
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.testing.hub import serving
from editcore.testing.versions import needs
from editcore_hooks import EditcoreError, RefusedFileError

CONFIG = b'{"model_type": "gpt2"}'


@pytest.fixture
def patch(tmp_path: Path) -> bytes:
    target = Target(StoredUpdate("dense", {"delta": torch.ones(2, 3)}), "F32", (2, 3), "0" * 64)
    seal({"w": target}, {"name": "owner/base"}, {"title": "Ada"}).save(tmp_path / "p.safetensors")
    return (tmp_path / "p.safetensors").read_bytes()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Point the library, which reads its environment once, at a hub that serves in this process."""

    def point(environment: dict[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", environment["HF_ENDPOINT"])
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            environment["HF_ENDPOINT"] + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        close_session()

    yield point
    close_session()


def files_under(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("etag", ['"{place}/evil.pth"', '"../../../evil"', "..", '"a/b"'])
def test_an_etag_chooses_no_path_of_a_pull(use, patch: bytes, tmp_path: Path, etag: str) -> None:
    with serving({"patch.safetensors": patch}, etag=etag.format(place=tmp_path)) as environment:
        use(environment)
        before = files_under(tmp_path)
        pull_file("me/fact", tmp_path / "q.safetensors")
    assert files_under(tmp_path) == before | {"q.safetensors"}
    assert (tmp_path / "q.safetensors").read_bytes() == patch


@pytest.mark.parametrize("answer", [
    {"etag": '"{place}/evil.pth"'},
    {"etag": '"../../../evil"'},
    {"etag": ".."},
    pytest.param({"oid": "../../evil"}, marks=needs("huggingface_hub", "1.5", "earlier ones ask for no object ids")),
])  # fmt: skip
def test_a_base_with_an_etag_that_is_a_path_is_refused(use, tmp_path: Path, answer: dict[str, str]) -> None:
    hostile = {name: value.format(place=tmp_path) for name, value in answer.items()}
    with serving({"config.json": CONFIG}, **hostile) as environment:
        use(environment)
        with pytest.raises(RefusedFileError, match="not a plain hash"):
            find("me/fact")
    assert not [name for name in files_under(tmp_path) if "evil" in name]


def test_a_base_with_plain_answers_is_fetched(use, tmp_path: Path) -> None:
    with serving({"config.json": CONFIG}) as environment:
        use(environment)
        assert (find("me/fact").folder / "config.json").read_bytes() == CONFIG


def test_an_endless_listing_ends(use, patch: bytes, tmp_path: Path) -> None:
    with serving({"patch.safetensors": patch}, endless=True) as environment:
        use(environment)
        with pytest.raises(EditcoreError, match="more than 3 pages") as caught:
            pull_file("me/fact", tmp_path / "q.safetensors", limits=Limits(pages=3))
        assert "--max-pages" in str(caught.value)
        pulled = pull_file("me/fact", tmp_path / "q.safetensors", file="patch.safetensors")
    assert isinstance(pulled, Patch)


def test_a_file_that_is_larger_than_allowed_gets_no_name(use, patch: bytes, tmp_path: Path) -> None:
    with serving({"patch.safetensors": patch}) as environment:
        use(environment)
        with pytest.raises(EditcoreError, match=r"larger than 0\.0005 MB"):
            pull_file("me/fact", tmp_path / "q.safetensors", limits=Limits(megabytes=0.0005))
    assert not (tmp_path / "q.safetensors").exists()


def test_a_hub_that_sends_a_byte_at_a_time_ends(use, patch: bytes, tmp_path: Path) -> None:
    with serving({"patch.safetensors": patch}, pause=0.02) as environment:
        use(environment)
        with pytest.raises(EditcoreError, match=r"more than 0\.2 seconds"):
            pull_file("me/fact", tmp_path / "q.safetensors", limits=Limits(seconds=0.2))


def test_the_command_offers_the_limits() -> None:
    said = subprocess.run([sys.executable, "-m", "editcore", "pull", "--help"], capture_output=True, text=True).stdout
    assert all(option in said for option in ("--max-megabytes", "--max-seconds", "--max-pages"))
