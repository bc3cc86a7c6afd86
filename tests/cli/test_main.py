from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polysemy.cli.arguments import build_parser
from polysemy.cli.main import main

COMMANDS = {
    "ladder": "CORPUS --demo --device --document --for --help --json --max-mb --max-ms --minutes --output "
    "--overwrite --quick --rungs --seed --size --strict --task --task-dev --threads --total --unit",
    "train": "CORPUS RECIPE --columns --device --document --epochs --from --fsdp --help --json --minutes --output "
    "--overwrite --preset --replay --resume --seed --set --size --steps --strict --threads --tokenizer --tokens --unit",
    "finetune": "DIR --batch-size --class-weights --columns --dev --device --epochs --freeze --from-text --gradual "
    "--help --json --layer-decay --learning-rate --length --metric --minutes --output --overwrite --patience --probe "
    "--reinit --reuse-layers --seed --seeds --set --steps --task --threads --train",
    "predict": "DIR FILE --columns --device --dtype --help --json --threads",
    "show": "CORPUS RECIPE --document --examples --help --preset --seed --set --size --step --strict --tokenizer "
    "--unit",
    "recipes": "--help --json --size",
    "describe": "RECIPE --help --json --preset --set --size",
    "evaluate": "DIR --analogies --columns --data --device --dtype --help --items --json --pairs --quick --seed "
    "--senses --task --threads",
    "compare": "DIR --help --output",
    "glue": "DATA DIR --batch-size --device --epochs --help --json --learning-rate --length --minutes --output --seeds "
    "--tasks --threads",
    "fill": "DIR TEXT --device --help --json --threads --top",
    "score": "DIR TEXT --device --help --json --threads",
    "generate": "DIR TEXT --device --greedy --help --json --repetition-penalty --seed --temperature --threads --tokens "
    "--top-k --top-p --weights",
    "attention": "DIR TEXT --device --head --help --json --layer --output --pair --threads --words",
    "senses": "DIR WORD --beside --corpus --device --document --evaluate --help --in --json --layer --output --pairs "
    "--pseudo --seed --senses --static --threads --uses",
    "classify": "DIR TEXT --device --help --json --threads --top",
    "embed": "DIR FILE --device --dimensions --dtype --help --json --layer --output --pairs --pooling --threads",
    "order": "DIR FILE --device --help --json --threads",
    "tokenize": "DIR TEXT --beside --help --json",
    "neighbors": "DIR WORD --among --help --json --top",
    "analogy": "A B C DIR --among --help --json --method --top",
    "similarity": "DIR TEXT --device --dtype --file --help --json --pairs --threads",
    "convert": "DST SRC --from --help --int8 --to",
    "demo": "DIR NAME --help --json --output --words",
}


def flags_of(parser) -> str:
    names = [
        max(action.option_strings, key=len) if action.option_strings else action.metavar for action in parser._actions
    ]
    return " ".join(sorted(names))


def test_the_flags_that_scripts_rely_on_are_frozen() -> None:
    commands = next(
        action for action in build_parser()._actions if hasattr(action, "choices") and action.choices
    ).choices
    assert {name: flags_of(parser) for name, parser in commands.items()} == {
        name: " ".join(sorted(flags.split())) for name, flags in COMMANDS.items()
    }


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from polysemy.cli.main import main; main(['--help'])\n"
        "print(sorted(sys.modules.keys() & {'torch', 'numba', 'numpy', 'matplotlib', 'tokenizers', 'rich', 'jinja2'}))"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        seconds.append(time.perf_counter() - start)
    assert found.splitlines()[-1] == "[]"
    assert min(seconds) < 0.5


def test_module_and_command_are_the_same() -> None:
    found = subprocess.run([sys.executable, "-m", "polysemy", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"polysemy \d+\.\d+\.\d+\n", found.stdout)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tran"],
        ["fill"],
        ["train", "bert", "--steps", "x"],
        ["fill", "nowhere", "no gap"],
        ["fill", "nowhere", "a [MASK]"],
        ["train", "bret", "x", "-o", "y"],
        ["train", "bert", "missing.txt", "-o", "y", "--steps", "1"],
        ["train", "bert", "-o", "y", "--steps", "1"],
        ["describe", "bert", "--set", "training.leaning_rate=1"],
        ["describe", "bert", "--set", "training.learning_rate"],
        ["describe", "bert", "--size", "huge"],
        ["convert", "a", "b"],
        ["evaluate", "nowhere"],
        ["compare", "nowhere", "-o", "x.html"],
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("polysemy")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_control_characters_in_a_message_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill", "no\x1b[31mwhere", "a [MASK]"]) == 2
    assert "\x1b" not in capsys.readouterr().err
