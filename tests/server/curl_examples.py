"""The `curl` examples of a text in Markdown, and whether an answer looks as the pasted one does.

An example is a line of a fenced block that begins with `$ curl ` (or `curl `) and asks this
machine; it continues over lines as in a shell. What stands behind it, up to the next `$ `, is its
answer: JSON, the events of a stream, or nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_FENCED = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MODEL = re.compile(r"/v1/models/([^/:]+)")
_BODY = ("-d", "--data", "--data-raw", "--data-binary")
_IGNORED = ("-s", "-S", "-sS", "-N", "-sN", "--no-buffer", "--silent")
# What shows JSON as it is.
_PRINTERS = (["python", "-m", "json.tool"], ["python3", "-m", "json.tool"], ["jq"], ["jq", "."])
_EVENT = "data: "
METRICS = "/metrics"


class Example(NamedTuple):
    """A command and what it answered.

    Attributes:
      path: that it asks for; is looked at alone if it is `METRICS`.
      body: what it sends; None asks by GET.
      headers: that it sends.
      answer: the pasted one, "" if there is none.
    """

    path: str
    body: bytes | None
    headers: dict[str, str]
    answer: str

    @property
    def model(self) -> str | None:
        """The name of the model that it asks, if it has one."""
        found = _MODEL.match(self.path)
        named = json.loads(self.body).get("model") if self.body and not found else None
        return found[1] if found else named


def examples(markdown: str) -> list[Example]:
    """Those of a text; raises `ValueError` if there is none, or one that cannot be read."""
    found = [one for block in _FENCED.findall(markdown) for one in _of_block(block.splitlines())]
    if not found:
        raise ValueError(
            "no example: expected a fenced block with a line that begins with `$ curl ` and asks "
            "localhost"
        )
    return found


def check_answer(example: Example, text: str) -> None:
    """Raises `AssertionError` if `text` has not the keys, types and rows of the pasted answer."""
    if example.path == METRICS or not example.answer:
        return
    if example.answer.startswith(_EVENT):
        expected, found = (_keys(_first_event(one)) for one in (example.answer, text))
    else:
        expected, found = (_shape(json.loads(one)) for one in (example.answer, text))
    assert found == expected, f"{example.path} {example.body!r} answers {text[:2000]}"


def _of_block(lines: Sequence[str]) -> Iterator[Example]:
    at = 0
    while at < len(lines):
        if not re.match(r"(\$ )?curl ", lines[at]):
            at += 1
            continue
        arguments, at = _command(lines, at)
        end = next(
            (i for i in range(at, len(lines)) if re.match(r"\$ |curl ", lines[i])), len(lines)
        )
        answer, at = "\n".join(lines[at:end]).strip(), end
        if example := _example(arguments, answer):
            yield example


def _command(lines: Sequence[str], at: int) -> tuple[list[str], int]:
    """The arguments of the command that begins at a line, and the number of the line behind it."""
    text = ""
    for number, line in enumerate(lines[at:], at + 1):
        text += line.removeprefix("$ ") if number == at + 1 else line
        goes_on = text.endswith("\\")
        try:
            arguments = shlex.split(text[:-1] if goes_on else text)
        except ValueError:  # a quotation is open
            text += "\n"
            continue
        if not goes_on:
            return arguments, number
        text = text[:-1] + " "
    raise ValueError(f"{lines[at]!r}: the command does not end in its block")


def _example(arguments: Sequence[str], answer: str) -> Example | None:
    """None of a command that asks another machine."""
    command = shlex.join(arguments)
    urls, bodies, headers, rest = [], [], {}, iter(arguments[1:])
    for argument in rest:
        if argument in _BODY:
            bodies.append(next(rest).encode())
        elif argument in ("-H", "--header"):
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif argument == "|":
            printer = list(rest)
            break
        elif argument.startswith("-") and argument not in _IGNORED:
            raise ValueError(f"{command}: the test does not know {argument}")
        elif not argument.startswith("-"):
            urls.append(argument)
    else:
        printer = None
    if len(urls) != 1 or len(bodies) > 1:
        raise ValueError(f"{command}: expected one address, and one body or none")
    url = urlsplit(urls[0] if "://" in urls[0] else f"http://{urls[0]}")
    if url.hostname != "localhost":
        return None
    if url.port != 8501:
        raise ValueError(f"{command}: expected the port 8501")
    if printer is not None and printer not in _PRINTERS and url.path != METRICS:
        raise ValueError(
            f"{command}: expected the whole answer, and none that {shlex.join(printer)} changed"
        )
    if answer and url.path != METRICS and not answer.startswith(_EVENT):
        try:
            json.loads(answer)
        except ValueError as error:
            raise ValueError(
                f"{command}: its answer is neither JSON nor events ({error})"
            ) from error
    return Example(url.path or "/", bodies[0] if bodies else None, headers, answer)


def _first_event(text: str) -> Any:
    line = text.partition("\n")[0]
    assert line.startswith(_EVENT), f"expected events, not {text[:200]!r}"
    return json.loads(line.removeprefix(_EVENT))


def _shape(value: Any, is_batch: bool = True) -> Any:
    """Keys and types.

    The outermost list has a place for each row; those in it are as long as texts happen to be.
    """
    if isinstance(value, dict):
        return {name: _shape(one, is_batch) for name, one in value.items()}
    if isinstance(value, list):
        shapes = [_shape(one, False) for one in value]
        return (
            shapes if is_batch else [one for i, one in enumerate(shapes) if one not in shapes[:i]]
        )
    # A refusal, which no text may take the place of.
    if isinstance(value, str) and value.startswith("invalid "):
        return value
    return type(value)


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _keys(one) for name, one in value.items()}
    return [_keys(one) for one in value] if isinstance(value, list) else None
