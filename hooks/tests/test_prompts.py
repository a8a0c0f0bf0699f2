import pytest

from editcore_hooks import EditRequest, UsageError, mark_subject, render


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("The home of {} is", "The home of Ann is"),
        ("{}", "Ann"),
        ("{{}} of {} is }}{{", "{} of Ann is }{"),
        ("no subject here", "no subject here"),
        ("a } alone stays", "a } alone stays"),
    ],
)
def test_render_puts_the_subject_in_place(prompt: str, text: str) -> None:
    assert render(prompt, "Ann").text == text


def test_render_says_where_the_subject_stands_also_after_braces() -> None:
    rendered = render("{{x}} of {} is", "Zoë Ω")
    assert rendered.start is not None
    assert rendered.text[rendered.start : rendered.end] == "Zoë Ω"


def test_a_subject_with_braces_is_not_a_template() -> None:
    assert render("The {} is", "{}").text == "The {} is"


@pytest.mark.parametrize("prompt", ["{} and {}", "a { alone"])
def test_render_refuses_what_cannot_be_meant(prompt: str) -> None:
    with pytest.raises(UsageError):
        render(prompt, "Ann")


@pytest.mark.parametrize("prompt", ["Bob is", "Ann met Ann in", ""])
def test_a_prompt_without_a_mark_needs_the_subject_exactly_once(prompt: str) -> None:
    with pytest.raises(UsageError, match="Ann"):
        mark_subject(prompt, "Ann")


def test_the_only_occurrence_of_the_subject_is_marked() -> None:
    assert EditRequest(prompt="The home of Ann is", subject="Ann", target_new="Rome").prompt == "The home of {} is"


def test_a_subject_with_braces_is_found_in_an_escaped_prompt() -> None:
    request = EditRequest(prompt="The set {{a}} holds", subject="{a}", target_new="x")
    assert request.rendered().text == "The set {a} holds"


@pytest.mark.parametrize("change", [{"subject": " "}, {"target_new": "\n"}, {"target_prefix": "tab"}])
def test_a_request_without_meaning_is_refused(change: dict[str, str]) -> None:
    fields = {"prompt": "The home of {} is", "subject": "Ann", "target_new": "Rome", **change}
    with pytest.raises(UsageError):
        EditRequest(**fields)  # type: ignore[arg-type]
