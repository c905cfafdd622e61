"""The page, in a headless Chromium."""

import pytest

from tests.server.served import asking, serving
from tests.server.toy_export import expected, write_toy
from tests.support import browser

NOT_RUNNING = "!document.getElementById('go').disabled"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    executable = browser.find()
    if executable is None:
        pytest.skip(f"no browser on PATH: expected one of {', '.join(browser.NAMES)}")
    with browser.browsing(executable, tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def clean(page):
    """The page, which must not break its own policy nor ask for anything elsewhere."""
    page.problems.clear()
    page.requested.clear()
    yield page
    assert page.problems == []
    assert {url.split("/")[2].split(":")[0] for url in page.requested} <= {"127.0.0.1"}


def text_of(page, selector):
    return page.evaluate(
        f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)"
    )


def fill(page, name, value):
    page.evaluate(f"document.getElementById('{name}').value = {value!r}")


def run(page):
    """As the keyboard does it: Ctrl + Enter in the prompt."""
    page.evaluate("document.getElementById('prompt').focus()")
    page.press("Enter", modifiers=2, windowsVirtualKeyCode=13)
    page.until(NOT_RUNNING)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_is_continued_and_its_tokens_coloured(clean, tmp_path, toy_root, stream):
    page, root = clean, toy_root
    if not stream:
        root = tmp_path / "plain"
        root.mkdir()
        write_toy(root, 1, stream=False)
    with serving(root) as server:
        page.open(server.url)
        assert text_of(page, "h1") == [root.name]
        assert page.evaluate("document.activeElement.id") == "prompt"
        page.type("从前 <b>")
        fill(page, "parameter-seed", "2")
        fill(page, "parameter-max_new_tokens", "20")
        run(page)
        assert text_of(page, "#error") == [""]
        assert text_of(page, "#text") == ["从前 <b>" + expected(2, 20)]
        assert text_of(page, "#text .token") == list(expected(2, 20))
        assert page.evaluate("document.querySelectorAll('#text b').length") == 0
        assert text_of(page, "#state") == [
            "20 tokens, log-probability -10.00, max new tokens reached"
        ]
        page.evaluate("document.getElementById('text').focus()")
        page.press("ArrowRight")
        page.press("ArrowRight")
        assert text_of(page, "#details") == ['"d": log-probability -0.500 (60.7 %)']
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.token')).backgroundColor")
            != "rgba(0, 0, 0, 0)"
        )


def test_an_export_that_gives_no_tokens_shows_its_text(clean, tmp_path):
    write_toy(tmp_path, 1, earlier=True)
    with serving(tmp_path) as server:
        clean.open(server.url)
        clean.type("从前 ")
        fill(clean, "parameter-seed", "2")
        fill(clean, "parameter-max_new_tokens", "3")
        run(clean)
        assert text_of(clean, "#error") == [""] and text_of(clean, "#text") == [
            "从前 " + expected(2, 3)
        ]
        assert text_of(clean, "#state") == [
            "3 tokens, log-probability -1.50, max new tokens reached"
        ]


def test_what_is_refused_is_told(clean, toy_root):
    with serving(toy_root) as server:
        clean.open(server.url)
        fill(clean, "parameter-max_new_tokens", "101")
        run(clean)
        assert text_of(clean, "#error") == ["max_new_tokens: expected few"]
        clean.problems.clear()  # the browser notes the answer 400


def test_the_best_of_a_beam_are_listed(clean, pair_root):
    with serving(pair_root) as server:
        clean.open(server.url)
        assert text_of(clean, "#prompt-label") == ["Source"]
        clean.type("x")
        fill(clean, "parameter-max_new_tokens", "3")
        run(clean)
        assert text_of(clean, "#best-list .text") == ["ab", "bcd"]
        assert clean.evaluate("document.getElementById('text').hidden")
        clean.evaluate("document.querySelectorAll('#best-list .text')[1].focus()")
        clean.press("ArrowRight")
        assert text_of(clean, "#details") == ['"b": log-probability -0.500 (60.7 %)']
        clean.evaluate(
            "{const one = document.getElementById('parameter-method'); one.value = 'sample';"
            "one.dispatchEvent(new Event('change'))}"
        )
        fill(clean, "parameter-seed", "4")
        run(clean)
        assert text_of(clean, "#text") == [expected(4, 3)]
        assert clean.evaluate("document.getElementById('best').hidden")


SPANS = """tokenSpans({text: %s, token_texts: %s, token_log_probabilities: [-1, -1, -1, -1, -1, -1, -1, -1]})
.map((one) => one.shown)"""


@pytest.mark.parametrize(
    ("text", "pieces", "shown"),
    [
        ("the cat", '["the", "cat", "</s>"]', ["the", " cat"]),  # words, which a space joins
        ("从x", r'["\ufffd", "\ufffd", "\ufffd", "x"]', ["从", "x"]),  # bytes
        (
            "\ufffdx从y",
            r'["\ufffd", "x", "\ufffd", "\ufffd", "\ufffd", "y"]',
            ["\ufffd", "x", "从", "y"],
        ),
        (
            "\ufffd从y",
            r'["\ufffd", "\ufffd", "\ufffd", "\ufffd", "\ufffd", "y"]',
            ["\ufffd", "从", "y"],
        ),
        (" a b", '["a", "b"]', [" a", " b"]),
        ("一 en", '["一", " end."]', ["一", " en"]),  # cut before a stop string
        ("", '["</s>"]', []),
    ],
)
def test_every_letter_is_shown_with_its_token(clean, toy_root, text, pieces, shown):
    with serving(toy_root) as server:
        clean.open(server.url)
        assert clean.evaluate(SPANS % (f"'{text}'", pieces)) == shown


def test_the_policy_lets_nothing_in(toy_root):
    with serving(toy_root) as server, asking(server) as client:
        answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (
        "http://" not in answer.text
        and "https://" not in answer.text
        and "innerHTML" not in answer.text
    )
