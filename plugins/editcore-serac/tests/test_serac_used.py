"""What was trained and what was edited, where it fits and where it does not: other bases, other tokenizers, folders."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.cli import main
from editcore.testing.training import opened, taught_cases
from editcore_hooks import RefusedFileError, WrongBaseError

REQUEST: EditRequest = taught_cases()[0].request


@pytest.fixture(scope="module")
def patch(gpt2_folder: Path, trained: AssetStore) -> editcore.Patch:
    session = editcore.open(gpt2_folder, assets=trained)
    return session.edit_all([REQUEST], EditOptions("serac"), measured=False)


def nets(trained: AssetStore) -> EditOptions:
    (asset,) = trained.list()
    return EditOptions("serac", hparams=(("test", {"nets": str(asset.path)}),))


def test_nets_and_patches_of_another_base_are_refused(llama_folder, trained, patch, tmp_path):
    session = opened(llama_folder, tmp_path / "assets")
    with pytest.raises(WrongBaseError, match="another base") as caught:
        session.edit_all([REQUEST], nets(trained), measured=False)
    assert "editcore train MODEL --method serac" in str(caught.value.hint)
    with pytest.raises(WrongBaseError):
        session.apply(patch)


def test_nets_and_patches_of_another_tokenizer_are_refused(gpt2_folder, trained, patch, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(gpt2_folder, folder)
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    described["normalizer"] = {"type": "NFC"}
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    session = opened(folder, tmp_path / "assets")
    with pytest.raises(RefusedFileError, match="another tokenizer"):
        session.edit_all([REQUEST], nets(trained), measured=False)
    with pytest.raises(WrongBaseError, match="another tokenizer"):
        session.apply(patch)


def test_a_folder_that_carries_the_patch_is_loaded_as_edited(gpt2_folder, trained, patch, tmp_path):
    file, edited = tmp_path / "fact.safetensors", tmp_path / "edited"
    patch.save(file)
    assert main(["apply", str(file), "--model", str(gpt2_folder), "-o", str(edited), "--runtime"]) == 0
    model, tokenizer = editcore.load(edited)
    plain = AutoModelForCausalLM.from_pretrained(edited)
    session = editcore.open(gpt2_folder, assets=trained)
    other = taught_cases()[7].request
    with torch.no_grad():
        for request, changed in ((REQUEST, True), (other, False)):
            ids = torch.tensor([session.encode(request).prompt_ids])
            with session.patched(patch):
                wanted = session.model(ids).logits
            assert torch.equal(model(ids).logits, wanted)
            assert torch.equal(plain(ids).logits, wanted) != changed
            new = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
            said = tokenizer.decode(new).strip()
            assert said.startswith(request.target_new if changed else request.target_true)
