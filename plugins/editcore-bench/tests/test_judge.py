"""A judge at a stub endpoint: what it is asked, what is recorded, and what goes wrong with it."""

import json
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from editcore.cli import main
from editcore_bench.judging import PROMPT, Judge, graded, sampled
from editcore_hooks import EditcoreError, UsageError


class Stub:
    """Replies to a grading prompt with what `says` makes of it; keeps what it was sent."""

    def __init__(self) -> None:
        self.says: Callable[[str], tuple[int, bytes]] = lambda text: (200, completion("CORRECT"))
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.asked.append((self.path, body, self.headers["Authorization"]))
                status, data = stub.says(body["messages"][0]["content"])
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def row(case: str, written: str, value: float | None) -> dict[str, Any]:
    return {
        "metric": "gen1.em@1",
        "case": case,
        "prompt": f"Where is {case}?",
        "target": "Rome",
        "written": written,
        "value": value,
    }


ROWS = [row("A", " Rome.", 1.0), row("B", " In Rome.", 0.0), row("C", " Oslo", 0.0), row("D", " Rome", 1.0)]


def by_answer(text: str) -> tuple[int, bytes]:
    answer = text.partition("Given answer: ")[2].partition("\n")[0]
    return 200, completion({"Oslo": "Incorrect.", "Rome": "I cannot tell"}.get(answer, "correct"))


def test_grades_are_counted_with_their_agreement(stub: Stub) -> None:
    stub.says = by_answer
    found = graded(Judge(stub.url, "grader", "secret"), ROWS)
    assert (found["n"], found["ungraded"]) == (3, 1)
    assert (found["value"], found["exact"], found["agreement"]) == (2 / 3, 1 / 3, 2 / 3)
    assert found["low"] < 2 / 3 < found["high"]
    assert [one["judged"] for one in found["rows"]] == [True, True, False, None]
    path, body, key = stub.asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"]) == ("grader", 0)
    texts = {body["messages"][0]["content"] for _, body, _ in stub.asked}
    assert PROMPT.format(question="Where is C?", target="Rome", answer="Oslo") in texts


def test_rows_are_drawn_alike_each_time_and_only_those_that_count() -> None:
    many = [row(str(number), "x", 1.0) for number in range(50)] + [row("none", "x", None)]
    assert sampled(many, 10) == sampled(many, 10) != many[:10]
    assert len(sampled(many, 100)) == 50


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((401, b"{}"), "answered 401"),
        ((307, b""), "answered 307"),
        ((200, b"<html>"), "not a chat completion"),
        ((200, b'{"choices": []}'), "not a chat completion"),
    ],
)
def test_an_endpoint_that_fails_is_an_error_of_two_lines(stub: Stub, reply: tuple[int, bytes], says: str) -> None:
    stub.says = lambda text: reply
    with pytest.raises(EditcoreError, match=says):
        graded(Judge(stub.url, "grader", "secret"), ROWS)


def test_no_grade_at_all_and_no_address_are_refused(stub: Stub) -> None:
    stub.says = lambda text: (200, completion("hm"))
    with pytest.raises(EditcoreError, match="graded no answer"):
        graded(Judge(stub.url, "grader"), ROWS)
    with pytest.raises(UsageError, match="not the address"):
        Judge("file:///etc/hosts", "grader")
    with pytest.raises(EditcoreError, match="cannot be reached"):
        Judge("http://127.0.0.1:9/v1", "grader").grade("a", "b", "c")


def test_the_command_records_the_judge_its_date_and_its_prompt(
    stub: Stub,
    run_spec,
    write_spec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = write_spec(
        tmp_path / "spec",
        ("metrics: [pref.score@1, pref.es@1, tf.exact@1, loc.agree@1, damage.ppl@1]", "metrics: [gen1.em@1]"),
        ("  - batch: [2, 6]\n  - sequential: [1, 3, 6]\n    gap: 2\n", ""),
        ("  - {name: ft-l, set: {steps: 4, layers: [1]}}\n", ""),
    )
    assert not run_spec(spec, tmp_path / "out").failed
    command = ["bench", "judge", str(tmp_path / "out"), "--url", stub.url, "--model", "grader"]
    assert main([*command, "--key-variable", "NO_SUCH_KEY"]) == 2
    monkeypatch.setenv("A_KEY", "secret")
    assert main([*command, "--key-variable", "A_KEY", "--n", "4"]) == 0
    assert "judged right" in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "judge.json").read_text())
    assert (kept["judge"], kept["prompt_sha256"]) == ("grader", sha256(PROMPT.encode()).hexdigest())
    assert len(kept["date"]) == 10
    (cell,) = kept["cells"].values()
    assert cell["n"] == 4
    assert "secret" not in json.dumps(kept)
