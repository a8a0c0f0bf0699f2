"""The endpoint, asked by the real client of the protocol."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import editcore
from core.tests.session.remembering import open_with, patch_for
from editcore.serving.engine import Engine, Wish
from editcore.testing.tiny import tiny_model
from editcore_hooks import UsageError

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
PROMPT = "The capital of France is"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    session = open_with(tiny_model("llama", tmp_path_factory.mktemp("tiny")))
    session.apply(patch_for(session, Engine(session).ids_of_text(PROMPT)))
    return session


@pytest.fixture(scope="module")
def address(session: editcore.Session) -> Iterator[str]:
    from editcore.serving.app import make_app

    config = uvicorn.Config(make_app(Engine(session), "tiny"), host="127.0.0.1", port=0, log_level="warning")
    bound, server = config.bind_socket(), uvicorn.Server(config)
    bound.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    return openai.OpenAI(base_url=address, api_key="none", max_retries=0)


def said(client: Any, model: str = "tiny", **settings: Any) -> Any:
    return client.completions.create(
        **{"model": model, "prompt": PROMPT, "max_tokens": 6, "temperature": 0, **settings}
    )


def plain(session: editcore.Session, stack: bool) -> str:
    return Engine(session).reply(Engine(session).ids_of_text(PROMPT), Wish(max_tokens=6, stack=stack)).text


def test_the_stack_is_chosen_by_request(session: editcore.Session, client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tiny:base"]
    with_patches, base = plain(session, True), plain(session, False)
    assert with_patches != base
    assert said(client).choices[0].text == with_patches
    assert said(client, "tiny:base").choices[0].text == base
    assert said(client, extra_body={"stack": False}).choices[0].text == base


def test_a_stream_gives_the_same_in_pieces(client: Any) -> None:
    counts = []
    for prompt in (PROMPT, "The mother tongue of Anna is", "In 1912 the", "Beats Music is owned by"):
        whole = said(client, prompt=prompt, max_tokens=40)
        pieces = list(said(client, prompt=prompt, max_tokens=40, stream=True))
        assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
        assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
        assert (whole.choices[0].finish_reason == "length") == (whole.usage.completion_tokens == 40)
        counts.append(len(pieces))
    assert max(counts) > 2


def test_a_text_that_stops_is_left_out(client: Any) -> None:
    whole = said(client).choices[0].text
    stop = whole[3:5]
    for stream in (False, True):
        found = said(client, stop=stop, stream=stream)
        parts = list(found) if stream else [found]
        assert "".join(part.choices[0].text for part in parts) == whole[: whole.index(stop)]
        assert parts[-1].choices[0].finish_reason == "stop"


def test_a_seed_makes_sampling_repeatable(client: Any) -> None:
    texts = [said(client, temperature=1, seed=seed).choices[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_chat_needs_a_template(session: editcore.Session, client: Any) -> None:
    def ask(**more: Any) -> Any:
        messages = [{"role": "user", "content": PROMPT}]
        return client.chat.completions.create(model="tiny", messages=messages, max_tokens=6, temperature=0, **more)

    with pytest.raises(openai.BadRequestError, match="no chat template"):
        ask()
    session.tokenizer.chat_template = TEMPLATE
    try:
        whole = ask().choices[0].message.content
        assert whole
        assert "".join(piece.choices[0].delta.content or "" for piece in ask(stream=True)) == whole
    finally:
        session.tokenizer.chat_template = None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_tokens": 10**6}, "the model takes"),
        ({"n": 2}, "n: "),
        ({"temperature": 9}, "temperature: "),
        ({"prompt": ["a", "b"]}, "one text a request"),
        ({"prompt": ""}, "no tokens"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_refused(client: Any, settings: Any, message: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        said(client, stream=stream, **settings)


def test_a_page_of_another_site_is_refused(address: str) -> None:
    body = json.dumps({"prompt": PROMPT}).encode()
    headers = {"Host": "attacker.example", "Content-Type": "application/json"}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(f"{address}/completions", body, headers))


def test_a_reader_that_leaves_ends_the_writing(session: editcore.Session) -> None:
    from editcore.serving.engine import Reply

    engine = Engine(session)
    pieces = engine.write(engine.ids_of_text(PROMPT), Wish(max_tokens=60), Reply())
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert engine.reply(engine.ids_of_text(PROMPT), Wish(max_tokens=2)).tokens == 2  # the lock is free


def test_an_encoder_decoder_answers_too(tmp_path: Any) -> None:
    engine = Engine(open_with(tiny_model("t5", tmp_path)))
    reply = engine.reply(engine.ids_of_text(PROMPT), Wish(max_tokens=4))
    assert reply.tokens == 4
    with pytest.raises(UsageError, match="no chat template"):
        engine.ids_of_chat([{"role": "user", "content": PROMPT}])
