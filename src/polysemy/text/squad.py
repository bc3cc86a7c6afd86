"""Questions to texts in the JSON of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018); XQuAD has the same form.

Every answer is looked up in its context.  One that does not stand at its offset is taken where it stands nearest to it,
if that is within NEARBY characters; otherwise the file is refused, with the id of the question.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polysemy.errors import InputError
from polysemy.text.examples import Question
from polysemy.text.tables import SHOWN, LabelFile

NEARBY = 64
"""characters by which an offset may be wrong: files made with another count of characters drift"""


def read_questions(file: LabelFile) -> tuple[list[Question], str]:
    """(all questions of a file in its order, what was taken elsewhere than it says); `row` counts them from 1."""
    questions: list[Question] = []
    moved = 0
    seen: set[str] = set()
    for context, record in _records(file):
        number = len(questions) + 1
        name, text = str(record.get("id", number)), record.get("question")
        if not isinstance(text, str) or not text.strip():
            raise _error(file, name, "must have a text, got an empty question")
        if name in seen:
            raise _error(file, name, "must have an id of its own, got one that occurred before")
        seen.add(name)
        impossible = bool(record.get("is_impossible", False))
        answers = () if impossible else tuple(_answers(file, name, context, record))
        moved += sum(not context.startswith(given["text"], given["answer_start"]) for given in record.get("answers", ())
                     if not impossible)
        questions.append(Question(name, text.strip(), context, answers, number))
    offset = "its offset" if moved == 1 else "their offsets"
    return questions, f"{moved:,} answer{'s' * (moved != 1)} taken from near {offset}" if moved else ""


def _records(file: LabelFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(context, question) of each question."""
    text = file.text()
    if not text.strip():
        return
    try:
        content = file.parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file.path} must be JSON as SQuAD has it, got {text[:SHOWN]!r} ({error})") from error
    for article in _list(file, content, "data"):
        for paragraph in _list(file, article, "paragraphs"):
            context = paragraph.get("context") if isinstance(paragraph, dict) else None
            if not isinstance(context, str) or not context.strip():
                raise InputError(f"{file.path}: paragraph must have a context that is a text, "
                                 f"got {str(paragraph)[:SHOWN]!r}")
            for record in _list(file, paragraph, "qas"):
                if not isinstance(record, dict):
                    raise InputError(f"{file.path}: question must be an object, got {str(record)[:SHOWN]!r}")
                yield context, record


def _list(file: LabelFile, holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, list):
        raise InputError(f"{file.path} must be JSON as SQuAD has it, with a list {name!r}, got {str(holder)[:SHOWN]!r}")
    return value


def _answers(file: LabelFile, name: str, context: str, record: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    given = record.get("answers", [])
    if not isinstance(given, list):
        raise _error(file, name, f"must have a list of answers, got {str(given)[:SHOWN]!r}")
    for answer in given:
        text = answer.get("text") if isinstance(answer, dict) else None
        start = answer.get("answer_start") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text.strip() or isinstance(start, bool) or not isinstance(start, int):
            raise _error(file, name, f"must have answers with text and answer_start, got {str(answer)[:SHOWN]!r}")
        yield _placed(file, name, context, start, text)


def _placed(file: LabelFile, name: str, context: str, start: int, text: str) -> tuple[int, str]:
    """Where the answer stands, without white space at its edges."""
    start, text = start + len(text) - len(text.lstrip()), text.strip()
    if start >= 0 and context.startswith(text, start):
        return start, text
    places = []
    at = context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        raise _error(file, name, f"must have its answer in the context, got {text[:SHOWN]!r}, which is not there")
    nearest = min(places, key=lambda place: abs(place - start))
    if abs(nearest - start) > NEARBY:
        raise _error(file, name, f"must have its answer at {start:,}, but {text[:SHOWN]!r} stands at {nearest:,}; "
                                 "correct answer_start")
    return nearest, text


def _error(file: LabelFile, name: str, message: str) -> InputError:
    return InputError(f"{file.path}, question {name}: {message}")
