"""Flags of the commands that train and judge."""

from __future__ import annotations

import argparse

from polysemy.cli.flags import (
    budget_flags,
    columns_flag,
    command,
    corpus_flags,
    dtype_flag,
    json_flag,
    machine_flags,
    output_flag,
    settings_flags,
)
from polysemy.models import RECIPES


def ladder(commands: argparse._SubParsersAction) -> None:
    parser = command(
        commands, "ladder", "judge:ladder", "train every rung on one corpus, judge all alike, write a report"
    )
    corpus_flags(parser)
    output_flag(parser, "folder of the study; the report is report.html in it")
    parser.add_argument("--demo", action="store_true", help="use documentation that is already on this machine")
    parser.add_argument("--minutes", type=float, help="training minutes a rung")
    parser.add_argument("--total", type=float, help="training minutes of all rungs together")
    parser.add_argument(
        "--rungs",
        help="comma-separated: ngram, cbow, skip-gram, glove, fasttext, nnlm, rnn, lstm, elmo, gpt, transformer-xl, "
        "bert, roberta, albert, spanbert, distilbert, hf:PATH (default: all)",
    )
    parser.add_argument("--for", dest="purpose", metavar="PURPOSE",
                        help="what the recommendation is for: fill (default), score, or classify:FILE, which is "
                        "--task FILE and a recommendation by its score")
    parser.add_argument("--task", metavar="FILE",
                        help="labeled texts (.tsv, .csv, .jsonl): every rung is also fine-tuned on them")
    parser.add_argument("--task-dev", metavar="FILE",
                        help="labeled texts that the task is judged by (default: a fifth of --task, left out of it)")
    parser.add_argument("--max-ms", type=float, help="slowest acceptable answer on one core, milliseconds")
    parser.add_argument("--max-mb", type=float, help="largest acceptable model, megabytes")
    parser.add_argument("--size", help="size of neural rungs (default: mini; tiny with --demo)")
    parser.add_argument("--quick", action="store_true", help="fewer questions (2,000 instead of 5,000)")
    parser.add_argument("--overwrite", action="store_true", help="replace an older study of the same name")
    machine_flags(parser)
    json_flag(parser)


def train(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "train", "train:train", "train one model; the same command resumes a stopped run")
    parser.add_argument("recipe", metavar="RECIPE", help=", ".join(name for name, row in RECIPES.items() if row.train))
    corpus_flags(parser)
    output_flag(parser, "run folder")
    budget_flags(parser)
    settings_flags(parser)
    columns_flag(parser)
    parser.add_argument("--tokenizer", metavar="DIR", help="use the tokenizer of this folder instead of training one")
    parser.add_argument("--from", dest="start", metavar="DIR", help="go on from a trained model, on new text")
    parser.add_argument(
        "--replay",
        type=float,
        default=0.0,
        metavar="RATE",
        help="with --from: part of each batch taken from the old text, 0..1",
    )
    parser.add_argument("--resume", action="store_true", help="fail when there is nothing to resume")
    parser.add_argument("--overwrite", action="store_true", help="start anew, removing what is in the output folder")
    parser.add_argument("--fsdp", action="store_true", help="under torchrun: shard weights and optimizer (FSDP2)")
    machine_flags(parser)
    json_flag(parser)


def finetune(commands: argparse._SubParsersAction) -> None:
    parser = command(
        commands, "finetune", "finetune:finetune", "teach a trained model a task from labeled examples; the same "
        "command resumes a stopped run"
    )
    parser.add_argument("model", metavar="DIR", help="run folder of any body: pretrained, fine-tuned, word vectors")
    parser.add_argument("--task", required=True, choices=("classify", "pair", "regress", "tag", "span", "embed"),
                        help="labels of texts or of pairs, numbers, tags of words, answers in a text, vectors")
    parser.add_argument("--train", required=True, metavar="FILE",
                        help=".tsv .csv .jsonl (compressed or not); tag: CoNLL columns; span: SQuAD json")
    parser.add_argument("--dev", metavar="FILE", help="examples to choose the best epoch by (default: a tenth of "
                        "--train, left out of it)")
    parser.add_argument("--columns", metavar="text=A,label=B", help="names, or numbers from 1 (default: guessed, and "
                        "told): text, pair, label, negative")
    output_flag(parser, "run folder")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=float, help="passes over the examples (default: 3, more for small data)")
    budget.add_argument("--steps", type=int, help="optimizer steps")
    budget.add_argument("--minutes", type=float, help="training time")
    parser.add_argument("--learning-rate", type=float, help="peak (default: by the body)")
    parser.add_argument("--batch-size", type=int, help="rows a step (default: 32, 16 for small data)")
    parser.add_argument("--length", type=int, help="most tokens of a row (default: 128; span: all the body reads)")
    parser.add_argument("--freeze", type=int, metavar="M", help="keep the embedding and the M lowest layers as is")
    parser.add_argument("--gradual", action="store_true", help="from the top a layer more learns in each epoch")
    parser.add_argument("--layer-decay", type=float, metavar="XI", help="each layer's rate is that above times XI")
    parser.add_argument("--reinit", type=int, metavar="K", help="the K top layers begin with random weights")
    parser.add_argument("--reuse-layers", type=int, metavar="M", help="only the embedding and the M lowest layers are "
                        "taken from the model")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="N runs; the best on dev is kept")
    parser.add_argument("--patience", type=int, metavar="P", help="stop after P epochs without a better score")
    parser.add_argument("--metric", help="what chooses the best epoch (default: accuracy, spearman, f1)")
    parser.add_argument("--class-weights", choices=("none", "balanced"), help="balanced: rare labels count more")
    parser.add_argument("--probe", action="store_true", help="instead: a linear model on every layer, with a picture")
    parser.add_argument("--from-text", dest="twins", choices=("twins", "adjacent"),
                        help="embed, from plain text: a sentence twice, or a sentence and the next")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="any other setting, e.g. dropout=0.2 (docs/fine-tuning.md lists them)")
    parser.add_argument("--overwrite", action="store_true", help="start anew, removing what is in the output folder")
    machine_flags(parser)
    json_flag(parser)


def show(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "show", "train:show", "print real training rows: pieces, segments, hidden, targets")
    parser.add_argument("recipe", metavar="RECIPE")
    corpus_flags(parser)
    settings_flags(parser)
    parser.add_argument("--examples", type=int, default=3, help="rows to print")
    parser.add_argument("--step", type=int, default=0, help="the batch they are taken from")
    parser.add_argument("--tokenizer", metavar="DIR", help="use the tokenizer of this folder instead of training one")
    parser.add_argument("--seed", type=int, default=0)


def recipes(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "recipes", "recipes:recipes", "list what can be trained, with its size and cost")
    parser.add_argument("--size", default="mini")
    json_flag(parser)


def describe(commands: argparse._SubParsersAction) -> None:
    parser = command(
        commands, "describe", "recipes:describe", "all about one recipe: parameters, cost, settings, deviations"
    )
    parser.add_argument("recipe", metavar="RECIPE")
    settings_flags(parser)
    json_flag(parser)


def evaluate(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "evaluate", "judge:evaluate", "judge a trained model on held-out text")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument(
        "--task",
        help="comma-separated: cloze, perplexity, loss, words, classify, similarity, speed (default: what the model "
        "can do of cloze, perplexity, words with --pairs or --analogies, classify or similarity with --data)",
    )
    parser.add_argument(
        "--data", nargs="*", metavar="FILE", help="text to judge on, or labels (default: what training held out)"
    )
    columns_flag(parser)
    parser.add_argument(
        "--pairs", nargs="*", metavar="FILE", help="words: pairs with how similar people find them; files or folders"
    )
    parser.add_argument(
        "--analogies", nargs="*", metavar="FILE", help="words: questions like questions-words.txt; files or folders"
    )
    parser.add_argument(
        "--senses", nargs=2, metavar=("TRAIN", "TEST"), help="words: sense-tagged occurrences, .jsonl"
    )
    parser.add_argument("--items", metavar="FILE", help="cloze items of a ladder (jsonl) instead of making new ones")
    parser.add_argument("--quick", action="store_true", help="fewer questions")
    dtype_flag(parser, "float32")
    machine_flags(parser)
    json_flag(parser)


def compare(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "compare", "judge:compare", "put run folders side by side in one report")
    parser.add_argument("models", nargs="+", metavar="DIR")
    output_flag(parser, "the report, one HTML file")


def glue(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "glue", "glue:glue", "fine-tune models on a battery of tasks (GLUE), one table")
    parser.add_argument("models", nargs="+", metavar="DIR", help="run folders of any body, word vectors too")
    parser.add_argument("data", metavar="DATA",
                        help="folder of sets: DATA/NAME/train.tsv and dev.tsv (or .csv, .jsonl; compressed or not)")
    output_flag(parser, "results, a JSON file; the same command goes on with it")
    parser.add_argument("--tasks", help="comma-separated names of sets (default: all there but WNLI)")
    parser.add_argument("--seeds", type=int, default=3, help="fine-tunings of each set; the median is reported")
    parser.add_argument("--epochs", type=float, help="passes over each set (default: more for small sets)")
    parser.add_argument("--minutes", type=float, help="most training time of one fine-tuning")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--length", type=int, help="most pieces of a text")
    machine_flags(parser, seed=False)
    json_flag(parser)
