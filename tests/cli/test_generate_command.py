"""`generate`: what is printed, what is kept when it is stopped, what is said aside, and what is refused."""
from __future__ import annotations

import copy
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polysemy
from polysemy.cli.generate import lines
from polysemy.cli.main import main
from polysemy.cli.printing import plain
from polysemy.decoding import autoregressive, compiled, words
from polysemy.decoding.autoregressive import generate
from polysemy.decoding.compiled import misfit
from polysemy.decoding.reading import PlainReader
from polysemy.decoding.sampling import GenerationConfig
from polysemy.decoding.text import prompt_ids, unwanted
from polysemy.models import gpt
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.nn.attention import Local
from polysemy.nn.position import Learned
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

LOOP = "the black cat sat on the mat and looked at a white dog near "
TEXTS = [*(LOOP * times for times in range(1, 9)),
         *(f"the {color} {animal} sat on the {place}" for color in ("black", "white", "small")
           for animal in ("cat", "dog") for place in ("mat", "roof"))]
LONG = "the black cat sat on the mat and looked at a white dog near the black cat sat on the mat"
WINDOW = 16


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small runs: gpt (rotary), learned (positions), local (attention), words (a tokenizer of words) and ngram."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("\n".join(TEXTS))
    assert main(["train", "ngram", str(folder / "text.txt"), "-o", str(folder / "ngram"), "--set", "order=3"]) == 0
    pieces, whole = (TokenizerConfig(kind=kind, vocab_size=280, min_frequency=1)  # type: ignore[arg-type]
                     for kind in ("bytebpe", "word"))
    for name, cut in (("gpt", pieces), ("learned", pieces), ("local", pieces), ("words", whole)):
        tokenizer = Tokenizer.train(TEXTS, cut)
        config = gpt.configure("tiny", "paper" if name == "learned" else "ladder")
        body: Any = config.model
        embedding = body.embedding.replace(vocab_size=tokenizer.vocab_size)
        if name == "learned":
            embedding = embedding.replace(position=Learned(max_positions=WINDOW))
        sizes: dict[str, Any] = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 24, "num_layers": 1}
        if name == "local":
            sizes["attention"] = Local(reach=4)
        body = body.replace(embedding=embedding, transformer=body.transformer.replace(**sizes))
        config = config.replace(model=body, tokenizer=cut, training=config.training.replace(length=WINDOW))
        write_run(folder / name, differing(PretrainingModel(body, config.heads, seed=1)), tokenizer, config)
    return folder


def differing(model: PretrainingModel) -> PretrainingModel:
    """The model with weights large enough for its answers to differ."""
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


@pytest.fixture
def run(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls `polysemy COMMAND RUN ...`: (exit code, standard output, standard error)."""

    def call(command: str, name: str, *rest: str, given: str = "") -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = main([command, str(runs / name), *rest])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


# what is printed

@pytest.mark.parametrize("name", ["gpt", "learned", "local", "words"])
def test_one_text_is_printed_as_the_model_writes_it(runs: Path, run: Any, name: str) -> None:
    model = polysemy.load(runs / name)
    code, out, err = run("generate", name, "the cat", "--tokens", "12", "--seed", "3", "--temperature", "1.5")
    assert (code, err) == (0, "")
    assert out == lines(model.generate("the cat", 12, seed=3, temperature=1.5)) + "\n"
    assert out.startswith("the cat")


def test_a_text_for_each_line_of_standard_input(runs: Path, run: Any) -> None:
    prompts = ["the cat", "a dog", "the cat"]
    written = polysemy.load(runs / "gpt").write_many(prompts, 9, seed=2)
    given = "\n".join(prompts)
    assert run("generate", "gpt", "-", "--tokens", "9", "--seed", "2", given=given)[:2] == (
        0, "".join(plain(one.text) + "\n" for one in written))
    found = json.loads(run("generate", "gpt", "-", "--tokens", "9", "--seed", "2", "--json", given=given)[1])
    assert found == {"results": [{"prompt": prompt, "text": one.text, "tokens": one.tokens, "ended": one.ended,
                                  "seed": 2} for prompt, one in zip(prompts, written, strict=True)]}
    assert written[0].text != written[2].text


@pytest.mark.parametrize("name", ["gpt", "ngram"])
def test_json_is_one_object_and_says_why_the_text_ended(run: Any, name: str) -> None:
    code, out, _ = run("generate", name, "the black", "--tokens", "5", "--seed", "1", "--greedy", "--json")
    found = json.loads(out)
    assert code == 0
    assert found.pop("text").startswith("the black")
    assert found == {"prompt": "the black", "tokens": 5, "ended": "tokens", "seed": 1}


def test_a_text_that_fills_all_positions_ends_and_says_so(run: Any) -> None:
    code, out, err = run("generate", "learned", "the", "--tokens", "50", "--greedy", "--json")
    assert (code, json.loads(out)["ended"], err) == (0, "limit", "note: the model has no position for more\n")


@pytest.mark.parametrize("name", ["gpt", "ngram"])
def test_the_seed_decides_the_text(run: Any, name: str) -> None:
    texts = [run("generate", name, "the", "--tokens", "10", "--seed", seed)[1] for seed in "445"]
    assert texts[0] == texts[1] != texts[2]


def test_greedy_takes_the_likeliest_token_at_each_place(runs: Path, run: Any) -> None:
    model = polysemy.load(runs / "gpt")
    text = prompt_ids(model.tokenizer, "the").tolist()
    first, refused = len(text), sorted(unwanted(model.tokenizer))
    for _ in range(8):  # all is read anew for each token
        logits = PlainReader(model.model).start([np.array(text)])[0]
        logits[refused] = -np.inf
        text.append(int(logits.argmax()))
    assert model.tokenizer.sep_id not in text[first:]
    wanted = lines("the" + model.tokenizer.decode(text[first:]))
    assert run("generate", "gpt", "the", "--tokens", "8", "--greedy")[1] == wanted + "\n"
    assert run("generate", "gpt", "the", "--tokens", "8", "--greedy", "--seed", "9")[1] == wanted + "\n"


# what is refused

@pytest.mark.parametrize(("name", "words", "message"), [
    ("gpt", ["a", "--tokens", "0"], "--tokens must be at least 1, got 0"),
    ("ngram", ["a", "--words", "0"], "--tokens must be at least 1, got 0"),
    ("gpt", ["a", "--temperature", "0"], "--temperature must be above 0, got 0.0; for the likeliest token"),
    ("gpt", ["a", "--top-p", "1.5"], "--top-p must be above 0 and at most 1, got 1.5"),
    ("gpt", ["a", "--greedy", "--top-k", "3"], "--greedy must stand without --top-k"),
    ("learned", [LONG], f"prompt must be at most {WINDOW} tokens long, got"),
    ("gpt", ["-"], "input must hold at least one line of text, got none")])
def test_wrong_use_is_one_line(run: Any, name: str, words: list[str], message: str) -> None:
    code, out, err = run("generate", name, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"polysemy: {message}")


# an n-gram writes by the same rules

def test_an_ngram_writes_what_its_own_method_writes(runs: Path, run: Any) -> None:
    model = polysemy.load(runs / "ngram")
    for seed in range(6):
        settings = ["--seed", str(seed), "--temperature", "0.8", "--tokens", "12"]
        assert run("generate", "ngram", "the small", *settings)[1] == model.generate("the small", 12, seed, 0.8) + "\n"


def test_an_ngram_heeds_top_k_top_p_and_the_penalty(run: Any) -> None:
    likeliest = run("generate", "ngram", "the", "--tokens", "20", "--greedy")[1]
    drawn = [run("generate", "ngram", "the", "--tokens", "20", "--seed", "1", *limit)[1]
             for limit in ((), ("--top-k", "1"), ("--top-p", "0.01"))]
    assert drawn[0] != likeliest
    assert drawn[1:] == [likeliest, likeliest]
    words = ["black the", "--tokens", "1", "--greedy", "--repetition-penalty"]
    once, other = (run("generate", "ngram", *words, penalty)[1] for penalty in "13")
    assert once == "black the black\n"
    assert other != once


def test_an_ngram_writes_after_several_prompts(run: Any) -> None:
    alone = [json.loads(run("generate", "ngram", prompt, "--tokens", "6", "--json")[1]) for prompt in ("the", "a dog")]
    code, out, _ = run("generate", "ngram", "-", "--tokens", "6", "--json", given="the\na dog\nthe\n")
    first, second, again = json.loads(out)["results"]
    assert (code, [first, second]) == (0, alone)
    assert again["text"].startswith("the ")
    assert again["text"] != first["text"]


# what is kept when it is stopped

def stop_after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, calls: int) -> None:
    """Ctrl-C when `name` has been called so often."""
    real, left = getattr(module, name), iter(range(calls))

    def counted(*args: Any) -> int:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_several_texts_that_were_stopped_are_printed(run: Any, monkeypatch: pytest.MonkeyPatch, flags: list[str]
                                                     ) -> None:
    settings, given = ["--greedy", "--json"], "the cat\na dog\n"
    wanted = [json.loads(run("generate", "words", "-", "--tokens", count, *settings, given=given)[1])["results"][row]
              for row, count in enumerate("54")]
    stop_after(monkeypatch, autoregressive, "choose", 9)  # of two rows: 5 tokens of one, 4 of the other
    code, out, err = run("generate", "words", "-", "--tokens", "90", "--greedy", *flags, given=given)
    assert (code, err) == (130, "polysemy: stopped\n")
    assert [one["tokens"] for one in wanted] == [5, 4]
    if flags:
        assert json.loads(out)["results"] == [one | {"ended": "interrupt"} for one in wanted]
    else:
        assert out == "".join(plain(one["text"]) + "\n" for one in wanted)


def test_one_text_that_was_stopped_is_printed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, count in ((words, "ngram", "pick"), (autoregressive, "words", "choose")):
        wanted = run("generate", name, "the", "--tokens", "5", "--greedy", "--json")[1]
        with monkeypatch.context() as patch:
            stop_after(patch, module, count, 5)
            code, out, _ = run("generate", name, "the", "--tokens", "90", "--greedy")
            assert (code, out) == (130, lines(json.loads(wanted)["text"]) + "\n")
        with monkeypatch.context() as patch:
            stop_after(patch, module, count, 5)
            code, out, _ = run("generate", name, "the", "--tokens", "90", "--greedy", "--json")
            assert (code, json.loads(out)) == (130, json.loads(wanted) | {"ended": "interrupt"})


def test_rows_of_an_ngram_that_were_not_begun_are_printed_as_they_are(run: Any, monkeypatch: pytest.MonkeyPatch
                                                                      ) -> None:
    stop_after(monkeypatch, words, "pick", 7)
    _, out, _ = run("generate", "ngram", "-", "--tokens", "5", "--greedy", "--json", given="the\na\nthe dog\n")
    found = [(one["tokens"], one["ended"]) for one in json.loads(out)["results"]]
    assert found == [(5, "tokens"), (2, "interrupt"), (0, "interrupt")]


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command as a process of its own, which hears SIGINT even where this one was started without it."""
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from polysemy.cli.main import main; raise SystemExit(main())")
    return subprocess.Popen([sys.executable, "-c", code, "generate", str(folder), *words], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_signal_keeps_what_an_ngram_wrote(runs: Path) -> None:
    with started(runs / "ngram", "the", "--greedy", "--tokens", "1000000000") as process:
        assert process.stdout is not None
        seen = "".join(process.stdout.read(1) for _ in range(200))  # it comes while it is written
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "polysemy: stopped\n")
    assert seen.startswith("the ")
    assert rest.endswith("\n")


def test_a_signal_keeps_what_was_written_after_several_prompts(runs: Path) -> None:
    with started(runs / "gpt", "-", "--greedy", "--tokens", "1000000000", "--json", "--weights", "int8") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("the cat\na dog\n")
        process.stdin.close()
        process.stdin = None
        assert "full weights are used" in process.stderr.readline()  # the last that is said before it writes
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    found = json.loads(out)["results"]
    assert (process.returncode, err) == (130, "polysemy: stopped\n")
    assert [(one["prompt"], one["ended"]) for one in found] == [("the cat", "interrupt"), ("a dog", "interrupt")]
    assert all(one["text"].startswith(one["prompt"]) for one in found)


# what is said aside

@pytest.mark.parametrize(("name", "prompt", "message"), [
    ("words", "银行 🦉", "3 of 3 words of the NAME are unknown to the model: 银, 行, 🦉"),
    ("words", "the owl sat", "1 of 3 words of the NAME is unknown to the model: owl"),
    ("words", "b c d e f g h b", "8 of 8 words of the NAME are unknown to the model: b, c, d, e, f and 2 more"),
    ("words", "x" * 99, f"1 of 1 words of the NAME is unknown to the model: {'x' * 30}..."),
    ("ngram", "the\n银行", "2 of 3 words of the NAME are unknown to the model: 银, 行"),
    ("ngram", "🦉", "the NAME held no word that the model can read"),
    ("words", "the cat", None), ("ngram", "The cat", None), ("gpt", "银行 🦉", None)])
def test_unknown_words_are_named(run: Any, name: str, prompt: str, message: str | None) -> None:
    for command, what, more in (("generate", "prompt", ["--tokens", "1"]), ("score", "text", [])):
        code, out, err = run(command, name, prompt, *more)
        assert (code, err) == (0, f"note: {message.replace('NAME', what)}\n" if message else "")
        assert out


def test_unknown_words_of_several_lines_are_named_together(run: Any) -> None:
    for command, what, more in (("generate", "prompts", ["--tokens", "1"]), ("score", "texts", [])):
        err = run(command, "ngram", "-", *more, given="the owl\na bank\nthe owl\n")[2]
        assert err == f"note: 3 of 6 words of the {what} are unknown to the model: owl, bank\n"


def test_an_empty_prompt_needs_no_words(run: Any) -> None:
    assert [run("generate", name, "--tokens", "1")[2] for name in ("words", "ngram")] == ["", ""]


def test_a_prompt_that_the_window_cuts_is_told_with_what_is_read(runs: Path, run: Any) -> None:
    model = polysemy.load(runs / "words")
    ids = prompt_ids(model.tokenizer, LONG)
    code, out, err = run("generate", "words", LONG, "--tokens", "3", "--greedy")
    assert (code, err) == (0, "note: the last 14 of 21 tokens of the prompt are read: the model's window holds "
                              f"{WINDOW}\n")
    settings, never = GenerationConfig(tokens=3, greedy=True), unwanted(model.tokenizer)
    found = generate(model.model, [ids[-14:]], settings, banned=never)[0].ids
    assert model.tokenizer.sep_id not in found
    assert out == model.tokenizer.decode([*ids, *found]) + "\n"
    err = run("generate", "words", "-", "--tokens", "1", given=f"the\n{LONG}\n{LONG}\n")[2]
    assert err == (f"note: the last 14 of 21 tokens of prompt 2 are read: the model's window holds {WINDOW}; so with 1 "
                   "more of 3 prompts\n")


@pytest.mark.parametrize(("name", "prompt", "reason"), [
    ("gpt", "the", None), ("gpt", "-", "the compiled step reads one text, and here are several"),
    ("local", "the", "the compiled step has full attention alone, and the model's is local"),
    ("ngram", "the", "the compiled step is a GPT's")])
def test_weights_that_are_not_used_are_told(run: Any, name: str, prompt: str, reason: str | None) -> None:
    code, _, err = run("generate", name, prompt, "--tokens", "1", "--weights", "int8", given="the\na\n")
    assert (code, err) == (0, f"note: full weights are used, not int8: {reason}\n" if reason else "")
    assert run("generate", name, prompt, "--tokens", "1", "--weights", "float32", given="the\na\n")[2] == ""


def test_why_weights_are_not_used_names_the_device_and_the_switch(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = polysemy.load(runs / "gpt").model
    assert misfit(model) is None
    assert misfit(copy.deepcopy(model).to("meta")) == "the compiled step runs on a CPU, and the model is on meta"
    assert misfit(copy.deepcopy(model).to(torch.bfloat16)) == "the compiled step does not compute this layout"
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    assert "POLYSEMY_PLAIN" in (misfit(model) or "")


@pytest.fixture
def no_compiled_step(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes for which the compiled step was asked."""
    asked: list[int] = []
    monkeypatch.setattr(compiled, "reader_for", lambda model, size, window, weights: asked.append(size))
    return asked


def test_a_last_group_of_one_prompt_has_full_weights_too(run: Any, monkeypatch: pytest.MonkeyPatch,
                                                         no_compiled_step: list[int]) -> None:
    monkeypatch.setattr(autoregressive, "ROWS", 2)
    run("generate", "gpt", "-", "--tokens", "2", "--weights", "int8", given="the\na\nthe\n")
    assert no_compiled_step == []
    run("generate", "gpt", "-", "--tokens", "2", "--weights", "int8", given="the\n")
    assert len(no_compiled_step) == 1
