"""The fake model as a writer of lines: as many variants as each task asks for, in its words."""

import json
import re
from typing import Any

_TASK = re.compile(
    r"Task (\d+): (?:one line|(\d+) variants), language (\S+)\. (.*?)(?=\n\nTask \d|\Z)", re.DOTALL
)
_QUESTION = re.compile(r"<question>\n(.*)\n</question>", re.DOTALL)
_STARTS = ("", "Now to this: ", "What I would like to hear: ", "Next, please: ")


def wants_lines(asked: dict[str, Any]) -> bool:
    """Whether a request asks for lines by schema, in either API's way."""
    form: dict[str, Any] = asked.get("response_format", {})
    text: dict[str, Any] = asked.get("text", {})
    form = form.get("json_schema") or text.get("format", {})
    schema: dict[str, Any] = form.get("schema", {})
    return "lines" in schema.get("properties", {})


def word(asked: dict[str, Any]) -> str:
    """Return the writer's reply to a request."""
    told = str(asked.get("input", ""))
    for message in asked.get("messages", ()):
        if message["role"] == "user":
            told = str(message["content"])
    lines = [
        {
            "task": int(task[1]),
            "variants": [_line(task[4], task[3], n) for n in range(int(task[2] or 1))],
        }
        for task in _TASK.finditer(told)
    ]
    return json.dumps({"lines": lines}, ensure_ascii=False)


def _line(task: str, language: str, number: int) -> str:
    question = _QUESTION.search(task)
    if question:
        return _STARTS[number % len(_STARTS)] + question[1]
    if "{role}" in task:
        asks = "what would you like to ask" if "invit" in task.lower() else "what comes to mind"
        return f"{_NUMBERS[number]} word on the {{role}} position ({language}): {asks}?"
    return f"{_NUMBERS[number]} thanks, I have noted that ({language}), and we go on."


_NUMBERS = (
    "First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth",
    "Another",
)  # fmt: skip
