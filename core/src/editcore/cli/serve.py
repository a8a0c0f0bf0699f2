"""`editcore serve`: a model with its patches, for programs that speak the OpenAI protocol."""

from typing import Any

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore_hooks import UsageError


@click.command()
@click.argument("model", metavar="FOLDER")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Also apply this patch, in memory.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: a free one.")
@click.option("--name", help="Name of the model in requests. Default: the name of the folder.")
@model_options
@with_output
def serve(out: Output, model: str, patches: tuple[str, ...], port: int, name: str | None, **options: Any) -> None:
    """Serve FOLDER with its patches on this machine: /v1/chat/completions and /v1/completions, with streaming.

    Programs of other machines cannot reach it. The model NAME:base, or "stack": false in a request, answers without
    patches.
    """
    from pathlib import Path

    try:
        import uvicorn
    except ImportError as error:
        raise UsageError("editcore serve needs FastAPI and uvicorn", hint="pip install 'editcore[serve]'") from error
    from editcore.serving.app import make_app
    from editcore.serving.engine import Engine

    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    for patch in loaded:
        session.apply(patch)
    called = name or Path(session.loaded.name).name
    app = make_app(Engine(session), called)
    socket = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(socket)
    bound = socket.bind_socket()
    bound.listen()  # who reads the address below is served, though it waits for the server to start
    out.print(f"http://127.0.0.1:{bound.getsockname()[1]}/v1 serves {called} and {called}:base; stop it with Ctrl-C")
    server.run(sockets=[bound])
