"""Questions in the JSON of SQuAD: answers are where they say, and what is not right is refused by its id."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysemy.errors import InputError
from polysemy.text.labeled import Examples, Question, read_examples

CONTEXT = "The Panthers defense gave up just 308 points. " + "Another sentence goes here. " * 5 + "The end."


def question(answer: str | None, start: int, *, name: str = "q1", **more: Any) -> dict[str, Any]:
    answers = [] if answer is None else [{"text": answer, "answer_start": start}]
    return {"id": name, "question": "How many?", "answers": answers, **more}


def read(path: Path, *questions: Any, context: Any = CONTEXT) -> Examples:
    content = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_examples(path, "span")


def test_a_question_has_its_context_and_all_its_answers(tmp_path: Path) -> None:
    start = CONTEXT.index("308")
    record = question("308", start)
    record["answers"].append({"text": "308 points", "answer_start": start})
    found = read(tmp_path / "a.json", record)
    assert found[0] == Question("q1", "How many?", CONTEXT, ((start, "308"), (start, "308 points")), 1)
    assert "1 question" in found.note


def test_questions_have_no_labels(tmp_path: Path) -> None:
    found = read(tmp_path / "a.json", question("308", 34))
    assert (found.labels, found.pair) == ((), False)


def test_questions_without_an_answer_have_none(tmp_path: Path) -> None:
    found = read(tmp_path / "a.json", question(None, 0, is_impossible=True), question("308", 34, name="q2"),
                 question("308", 34, name="q3", is_impossible=True, plausible_answers=[]))
    assert [len(item.answers) for item in found] == [0, 1, 0]


@pytest.mark.parametrize("shift", [-30, -1, 1, 30])
def test_an_answer_is_found_near_a_wrong_offset(tmp_path: Path, shift: int) -> None:
    start = CONTEXT.index("308")
    found = read(tmp_path / "a.json", question("308", start + shift), question("308", start, name="q2"))
    assert found[0].answers == ((start, "308"),)
    assert found.note.endswith("2 questions, 1 answer taken from near its offset")


def test_spaces_around_an_answer_are_no_part_of_it(tmp_path: Path) -> None:
    start = CONTEXT.index(" 308 ")
    assert read(tmp_path / "a.json", question(" 308 ", start))[0].answers == ((start + 1, "308"),)


@pytest.mark.parametrize(("record", "reason"), [
    (question("309", 34), "question q1: must have its answer in the context, got '309'"),
    (question("308", 180), "question q1: must have its answer at 180, but '308' stands at 34"),
    (question("308", -100), "question q1: must have its answer at -100"),
    (question("", 3), "question q1: must have answers with text"),
    ({**question("308", 34), "answers": [{"text": "308"}]}, "question q1: must have answers with text and answer_st"),
    ({**question("308", 34), "answers": "308"}, "question q1: must have a list of answers"),
    ({**question("308", 34), "question": " "}, "question q1: must have a text"),
    ("what", "question must be an object"),
])
def test_a_wrong_question_is_refused_by_file_and_id(tmp_path: Path, record: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path / "a.json", record)
    assert str(caught.value).startswith(f"{tmp_path}/a.json")


def test_an_id_may_not_come_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="question q1: must have an id of its own"):
        read(tmp_path / "a.json", question("308", 34), question("308", 34))


@pytest.mark.parametrize(("text", "reason"), [
    ("", "must hold examples, got none"), ("{", "must be JSON as SQuAD has it"), ("[]", "with a list 'data'"),
    ('{"data": [{}]}', "with a list 'paragraphs'"), ('{"data": [{"paragraphs": [{"context": ""}]}]}', "a context"),
    ('{"data": []}', "must hold examples, got none"),
])
def test_other_json_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_examples(tmp_path / "a.json", "span")


def test_every_answer_of_a_real_file_stands_at_its_offset(shared_data: Path) -> None:
    for language in ("en", "zh"):
        found = read_examples(shared_data / f"xquad/xquad.{language}.30-articles.json.gz", "span")
        assert all(item.context.startswith(text, start) for item in found for start, text in item.answers)
        assert all(item.answers for item in found)
