"""The endpoint: chat and text completions of the OpenAI protocol, for programs on this machine. Needs FastAPI."""

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from editcore.serving.engine import Engine, Reply, Wish
from editcore.serving.protocol import BASE, ChatAsked, TextAsked, chunk, usage
from editcore_hooks import EditcoreError

HOSTS: Final = ("127.0.0.1", "localhost")
"""Names by which it is reached: a page of another site that resolves to this machine is refused."""
DEFAULT_TOKENS: Final = 256


def make_app(engine: Engine, name: str) -> FastAPI:
    """The application for one model, served under `name`, and under `name:base` without its patches."""
    app = FastAPI(title="editcore", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))

    @app.exception_handler(EditcoreError)
    def refuse(_: Any, error: EditcoreError) -> JSONResponse:
        return _error(str(error))

    @app.exception_handler(RequestValidationError)
    def misread(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        names = (name, f"{name}{BASE}")
        return {"object": "list", "data": [{"id": each, "object": "model", "owned_by": "editcore"} for each in names]}

    @app.post("/v1/chat/completions")
    def chat(asked: ChatAsked) -> Any:
        ids = engine.ids_of_chat([{"role": one.role, "content": one.content} for one in asked.messages])
        wish = asked.wish(DEFAULT_TOKENS, asked.max_completion_tokens)
        if asked.stream:
            return _stream(engine, ids, wish, asked.model or name, "chat.completion.chunk")
        reply = engine.reply(ids, wish)
        choice = {"message": {"role": "assistant", "content": reply.text}, "finish_reason": reply.finish}
        return chunk("chat.completion", _id(), asked.model or name, choice) | {"usage": usage(reply)}

    @app.post("/v1/completions")
    def complete(asked: TextAsked) -> Any:
        texts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        if len(texts) != 1:
            return _error("prompt: one text a request is answered")
        ids, wish = engine.ids_of_text(texts[0]), asked.wish(16)
        if asked.stream:
            return _stream(engine, ids, wish, asked.model or name, "text_completion")
        reply = engine.reply(ids, wish)
        choice = {"text": reply.text, "finish_reason": reply.finish}
        return chunk("text_completion", _id(), asked.model or name, choice) | {"usage": usage(reply)}

    return app


def _stream(engine: Engine, ids: tuple[int, ...], wish: Wish, model: str, kind: str) -> StreamingResponse:
    """Server-sent events. The first piece is made before the answer begins, so that a refusal still has its status."""
    reply, id_ = Reply(), _id()
    pieces = engine.write(ids, wish, reply)
    first = next(pieces, None)
    chat = kind.startswith("chat")

    def said(piece: str) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": piece}} if chat else {"text": piece}

    def events() -> Iterator[str]:
        try:
            for piece in [] if first is None else [first]:
                yield _event(chunk(kind, id_, model, {**said(piece), "finish_reason": None}))
            for piece in pieces:
                yield _event(chunk(kind, id_, model, {**said(piece), "finish_reason": None}))
        except EditcoreError as error:
            yield _event({"error": {"message": str(error), "type": "server_error"}})
            return
        finally:
            pieces.close()  # type: ignore[attr-defined] # a generator: the model stops where nobody reads on
        last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        yield _event(chunk(kind, id_, model, {**last, "finish_reason": reply.finish}))
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _error(message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=400)


def _id() -> str:
    return f"editcore-{uuid.uuid4().hex[:16]}"
