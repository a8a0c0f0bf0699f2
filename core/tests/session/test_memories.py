"""The promises of the runtime of memories, on a decoder of two families and on an encoder-decoder."""

from typing import Any

import pytest
import torch

import editcore
from core.tests.session.remembering import DECIDED, Remembered, open_with, patch_for
from editcore.authoring.memories import Memory, Seen
from editcore.models.running.batch import pad
from editcore.models.running.cache_names import as_cache, kept_cache
from editcore.models.running.scoring import target_logits
from editcore.patches.file.patch import Patch
from editcore.testing.snapshot import Snapshot
from editcore.testing.tiny import tiny_model
from editcore.testing.versions import require
from editcore_hooks import ConflictError, PluginError, Site, UsageError, WrongBaseError

ON_T5 = "its static cache breaks with an encoder-decoder"
KNOWN, OTHER, LONGER = (5, 9, 14, 7), (8, 3, 12), (6, 5, 11, 9, 13, 4)
ROWS = (KNOWN, OTHER, LONGER)
NEW = 6


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return open_with(tiny_model(request.param, tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return open_with(tiny_model("llama", tmp_path_factory.mktemp("tiny")))


def written(session: editcore.Session, rows: Any, **settings: Any) -> list[list[int]]:
    """What plain transformers writes after token rows, padded on the left, or on the right for an encoder."""
    both = session.encoder_decoder
    batch = pad(rows, side="right" if both else "left")
    settings = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0, **settings}
    ids = session.model.generate(batch.ids, attention_mask=batch.mask, **settings)
    return ids[:, 1 if both else batch.ids.shape[1] :].tolist()


def alone(session: editcore.Session, rows: Any, **settings: Any) -> list[list[int]]:
    return [row for each in rows for row in written(session, [each], **settings)]


def telling(session: editcore.Session, everywhere: bool = True, **settings: Any) -> Patch:
    """A patch of KNOWN that changes what is written after it: of random values some do."""
    before = written(session, [KNOWN], **settings)
    for seed in range(32):
        patch = patch_for(session, KNOWN, everywhere=everywhere, seed=seed)
        with session.patched(patch):
            if written(session, [KNOWN], **settings) != before:
                return patch
    raise AssertionError("no value of 32 changes what is written")


@pytest.mark.parametrize("everywhere", [True, False])
def test_only_the_row_that_is_remembered_is_edited(session: editcore.Session, everywhere: bool) -> None:
    before = written(session, ROWS)
    with session.patched(telling(session, everywhere)):
        after = written(session, ROWS)
        assert after == alone(session, ROWS)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_nothing_is_left_of_it(session: editcore.Session) -> None:
    before, attributes = Snapshot.of(session.model), set(vars(session.model))
    with session.patched(patch_for(session, KNOWN), patch_for(session, OTHER, seed=1)):
        assert Snapshot.of(session.model).changes(before)
        written(session, ROWS)
    assert before.changes(Snapshot.of(session.model)) == []
    assert set(vars(session.model)) == attributes


def test_it_decides_once_a_sequence_with_and_without_a_cache(session: editcore.Session) -> None:
    with session.patched(patch_for(session, KNOWN)):
        texts = []
        for use_cache in (True, False):
            DECIDED.clear()
            texts.append(written(session, ROWS, use_cache=use_cache))
            assert [len(ROWS)] == DECIDED
    assert texts[0] == texts[1]


@pytest.mark.parametrize("settings", [
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 2},
    {"cache_implementation": "static"},
    {"cache_implementation": "static", "num_beams": 2},
    {"repetition_penalty": 1.3},
])  # fmt: skip
def test_ways_to_generate_give_for_a_batch_what_they_give_alone(session: editcore.Session, settings: Any) -> None:
    if session.encoder_decoder and "cache_implementation" in settings:
        require("transformers", "5.13", ON_T5)
    before = written(session, ROWS, **settings)
    with session.patched(telling(session, **settings)):
        together = written(session, ROWS, **settings)
        assert together == alone(session, ROWS, **settings)
    n = settings.get("num_return_sequences", 1)
    assert together[:n] != before[:n]
    assert together[n:] == before[n:]


def test_sampling_is_of_the_edited_model(session: editcore.Session) -> None:
    def drawn(**settings: Any) -> list[list[int]]:
        torch.manual_seed(3)
        return written(session, [KNOWN, OTHER], do_sample=True, top_k=4, num_return_sequences=4, **settings)

    before = drawn()
    with session.patched(patch_for(session, KNOWN)):
        after = drawn()
        assert after == drawn(use_cache=False)
    assert after[:4] != before[:4]


def test_a_long_prompt_in_chunks_is_decided_on_as_a_whole(llama: editcore.Session) -> None:
    with llama.patched(patch_for(llama, KNOWN)):
        assert written(llama, ROWS, prefill_chunk_size=2) == written(llama, ROWS)


def test_a_cache_of_a_common_beginning_changes_nothing(llama: editcore.Session) -> None:
    with llama.patched(patch_for(llama, KNOWN)):
        begun = llama.model(torch.tensor([KNOWN[:2]]), use_cache=True)
        assert written(llama, [KNOWN], **as_cache(llama.model, kept_cache(begun))) == written(llama, [KNOWN])


def test_a_model_that_drafts_changes_nothing(llama: editcore.Session, tmp_path: Any) -> None:
    drafting = open_with(tiny_model("llama", tmp_path, seed=1, n_layers=2)).model
    with llama.patched(patch_for(llama, KNOWN)):
        assert written(llama, [KNOWN], assistant_model=drafting) == written(llama, [KNOWN])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("everywhere", [True, False])
def test_scores_are_those_of_generation(session: editcore.Session, everywhere: bool, side: Any) -> None:
    with session.patched(patch_for(session, KNOWN, everywhere=everywhere)):
        wrote = written(session, ROWS)
        found = target_logits(session.model, list(zip(ROWS, wrote, strict=True)), side=side)
        assert found.logits.argmax(-1).tolist() == found.labels.tolist()
        one = target_logits(session.model, [(ROWS[0], wrote[0])])
        torch.testing.assert_close(found.logits[: len(wrote[0])], one.logits, rtol=1e-4, atol=1e-3)


def test_texts_that_begin_alike_are_scored_as_each_alone(session: editcore.Session) -> None:
    questions = [("The capital of France is", f"{letter} town", None, "auto") for letter in "abcdefghijklmnopqrst"]
    ids = session.tokenizer(questions[0][0], add_special_tokens=session.encoder_decoder)["input_ids"]
    before = session.score_targets(questions)
    lead = [] if session.encoder_decoder else session.tokenizer(questions[0][0])["input_ids"][: -len(ids)]
    with session.patched(patch_for(session, [*lead, *ids])):
        together = session.score_targets(questions)
        singly = [session.score_targets([question])[0] for question in questions]
    assert [one.sum for one in together] == pytest.approx([one.sum for one in singly], abs=1e-3)
    assert abs(together[0].sum - before[0].sum) > 0.1


def test_labels_say_where_the_prompt_ends(llama: editcore.Session) -> None:
    answer = (4, 8)
    ids = torch.tensor([[*KNOWN, *answer]])
    labels = torch.tensor([[-100] * len(KNOWN) + list(answer)])
    with llama.patched(patch_for(llama, KNOWN)):
        found = target_logits(llama.model, [(KNOWN, answer)])
        scored = found.logits.log_softmax(-1).gather(-1, found.labels[:, None]).mean()
        assert float(llama.model(ids, labels=labels).loss) == pytest.approx(-float(scored), abs=1e-4)


def test_modes_change_nothing(session: editcore.Session) -> None:
    with session.patched(patch_for(session, KNOWN)):
        before = written(session, ROWS)
        session.model.train()
        session.model.eval()
        assert written(session, ROWS) == before


def test_a_loop_of_ones_own_goes_on_with_the_decision(llama: editcore.Session) -> None:
    with llama.patched(patch_for(llama, KNOWN)):
        batch, new = pad(ROWS, side="left"), []
        given, cache, mask, positions = batch.ids, None, batch.mask, batch.positions
        for _ in range(NEW):
            kept = as_cache(llama.model, cache)
            output = llama.model(given, attention_mask=mask, position_ids=positions, use_cache=True, **kept)
            given, cache = output.logits[:, -1:].argmax(-1), kept_cache(output)
            mask, positions = torch.cat([mask, torch.ones_like(given)], 1), positions[:, -1:] + 1
            new.append(given)
        assert torch.cat(new, 1).tolist() == written(llama, ROWS)
    with llama.patched(patch_for(llama, OTHER)), pytest.raises(ConflictError, match="no decision was taken"):
        llama.model(given, attention_mask=mask, **as_cache(llama.model, cache))


def test_the_latest_that_hits_acts_and_any_can_be_taken_off(session: editcore.Session) -> None:
    first, second, third = (patch_for(session, KNOWN, seed=seed) for seed in (1, 2, 3))
    texts = {}
    for name, patches in {"first": [first], "second": [second], "third": [third]}.items():
        with session.patched(*patches):
            texts[name] = written(session, ROWS)
    assert len({str(text) for text in texts.values()}) == 3
    for patch in (first, second, third):
        session.apply(patch)
    assert written(session, ROWS) == texts["third"]
    with session.live.only([first.patch_id, second.patch_id]):
        assert written(session, ROWS) == texts["second"]
    assert written(session, ROWS) == texts["third"]  # the order is that of the patches
    session.live.remove(first.patch_id)
    assert written(session, ROWS) == texts["third"]
    session.live.remove(third.patch_id)
    assert written(session, ROWS) == texts["second"]
    session.live.remove(second.patch_id)


def test_a_row_that_nothing_remembers_keeps_its_bits(session: editcore.Session) -> None:
    items = [(OTHER, (4, 5)), (LONGER, (6,))]
    before = target_logits(session.model, items).logits
    with session.patched(patch_for(session, KNOWN)):
        assert torch.equal(target_logits(session.model, items).logits, before)


def test_an_encoder_decides_for_a_decoder_with_beams(tmp_path: Any) -> None:
    session = open_with(tiny_model("t5", tmp_path))
    before = written(session, ROWS, num_beams=3)
    with session.patched(patch_for(session, KNOWN, reads=(1, "encoder"), acts=(1, "decoder"))):
        after = written(session, ROWS, num_beams=3)
        assert after == alone(session, ROWS, num_beams=3)
        assert written(session, ROWS, use_cache=False) == written(session, ROWS)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_a_memory_that_acts_before_it_decides_is_a_fault_of_its_plugin(llama: editcore.Session) -> None:
    with (
        llama.patched(patch_for(llama, KNOWN, reads=(2, "decoder"), acts=(0, "decoder"))),
        pytest.raises(PluginError, match=r"acts at decoder\.0\.mlp_out, which runs before"),
    ):
        written(llama, [KNOWN])


def test_a_mask_that_is_not_of_rows_is_refused(llama: editcore.Session) -> None:
    mask = torch.zeros(1, 1, 4, 4)
    with llama.patched(patch_for(llama, KNOWN)), pytest.raises(UsageError, match="decides for each row"):
        llama.model(torch.tensor([KNOWN]), attention_mask=mask)


def test_another_base_is_refused_unless_the_kind_works_on_any(llama: editcore.Session, tmp_path: Any) -> None:
    patch = patch_for(llama, KNOWN)
    folder = tiny_model("llama", tmp_path, seed=1)
    with pytest.raises(WrongBaseError), open_with(folder).patched(patch):
        pass

    class Anywhere(Remembered):
        any_base = True

    with open_with(folder, Anywhere).patched(patch):
        pass


@pytest.mark.parametrize(("prompt_only", "expected"), [(True, 1), (False, 4)])
def test_one_for_the_prompt_alone_is_not_asked_in_the_answer(
    llama: editcore.Session, prompt_only: bool, expected: int
) -> None:
    class Counting(Memory):
        def __init__(self) -> None:
            self.reads, self.acts = Site("mlp_out", 1), (Site("mlp_out", 1),)
            self.prompt_only, self.asked = prompt_only, 0

        def decide(self, seen: Seen) -> torch.Tensor:
            return torch.zeros(len(seen.inputs), dtype=torch.int64)

        def act(self, site: Site, chosen: torch.Tensor, seen: Seen) -> torch.Tensor:
            self.asked += 1
            return seen.outputs

    memory = Counting()
    with llama.live.memories.trying(memory):
        ids = torch.tensor([[5, 9, 14]])
        llama.model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert memory.asked == expected


def test_memories_of_a_group_are_joined_in_the_order_of_their_patches(llama: editcore.Session) -> None:
    from core.tests.session.remembering import OneKey

    joins: list[list[float]] = []

    class Joining(OneKey):
        group = "all"

        @classmethod
        def joined(cls, memories: Any) -> Any:
            joins.append([float(memory.value[0]) for memory in memories])
            return memories[0]

    class Group(Remembered):
        def memory(self, session: Any, patch: Any) -> Any:
            one = super().memory(session, patch)
            return Joining(one.reads, one.acts[0], True, one.key, one.value)

    session = open_with(llama.checkpoint.folder, Group)
    patches = [patch_for(session, row, seed=seed) for seed, row in enumerate(ROWS)]
    with session.patched(*patches):
        DECIDED.clear()
        written(session, ROWS)
    assert joins == [[float(patch.tensors["payload/value"][0]) for patch in patches]]
    assert [len(ROWS)] == DECIDED
