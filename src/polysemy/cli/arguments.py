"""Every command and flag, in one literal place; nothing heavy is imported to answer `--help`."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from polysemy import __version__
from polysemy.models import RECIPES

USES = """\
main job:    polysemy ladder CORPUS --minutes 10 -o study        train every rung, judge alike, write study/report.html
one model:   polysemy train bert CORPUS -o runs/bert --minutes 20
             polysemy fill runs/bert "The [MASK] sat by the river bank."
no corpus?   polysemy ladder --demo -o study                      reads documentation that is already on this machine
"""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line and exit with 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> Parser:
    """The whole command line; `args.run` is `module:function` inside polysemy.cli."""
    parser = Parser(
        prog="polysemy",
        epilog=USES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train every way of representing language on your own text, judge them by the same "
        "questions, ship the one that fits.",
    )
    parser.add_argument("--version", action="version", version=f"polysemy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for add in (
        _ladder,
        _train,
        _finetune,
        _predict,
        _show,
        _recipes,
        _describe,
        _evaluate,
        _compare,
        _glue,
        _fill,
        _score,
        _generate,
        _attention,
        _senses,
        _classify,
        _embed,
        _order,
        _tokenize,
        _neighbors,
        _analogy,
        _similarity,
        _convert,
        _demo,
    ):
        add(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, run: str, summary: str) -> Parser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _corpus(parser: Parser) -> None:
    parser.add_argument(
        "data",
        nargs="*",
        metavar="CORPUS",
        help="text files, folders or globs: .txt .jsonl, .gz .xz; .zst and .parquet with the extra `formats`",
    )
    parser.add_argument(
        "--document",
        default="auto",
        choices=("auto", "blank-line", "line", "heading", "file"),
        help="what a document is (default: chosen from the file, and printed)",
    )
    parser.add_argument(
        "--unit",
        default="character",
        choices=("character", "word"),
        help="Chinese words: each character, or as a segmenter cuts them (extra `zh`)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse invalid UTF-8 with its place instead of replacing it"
    )


def _columns(parser: Parser) -> None:
    parser.add_argument(
        "--columns",
        default="text,label",
        metavar="TEXT,LABEL",
        help="of a .tsv or .csv of labels: names, or numbers from 1 when its first line is no heading",
    )


def _budget(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--minutes", type=float, help="training time; the schedule follows the measured speed")
    group.add_argument("--steps", type=int, help="optimizer steps")
    group.add_argument("--epochs", type=float, help="passes over the text")
    group.add_argument("--tokens", type=float, help="tokens seen")


def _machine(parser: Parser, *, seed: bool = True) -> None:
    if seed:
        parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads to use (default: all cores of this process)")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _output(parser: Parser, what: str, *, required: bool = True) -> None:
    parser.add_argument("-o", "--output", metavar="PATH", required=required, help=what)


def _settings(parser: Parser) -> None:
    parser.add_argument(
        "--size", default="mini", help="tiny, mini, small, medium, base, large (ALBERT also xlarge, xxlarge)"
    )
    parser.add_argument(
        "--preset",
        default="ladder",
        choices=("ladder", "paper"),
        help="ladder: settings that learn most in minutes; paper: as published, for days of training",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any setting, e.g. training.learning_rate=5e-4 (polysemy describe RECIPE lists them)",
    )


def _ladder(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "ladder", "judge:ladder", "train every rung on one corpus, judge all alike, write a report"
    )
    _corpus(parser)
    _output(parser, "folder of the study; the report is report.html in it")
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
    _machine(parser)
    _json(parser)


def _train(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "train", "train:train", "train one model; the same command resumes a stopped run")
    parser.add_argument("recipe", metavar="RECIPE", help=", ".join(name for name, row in RECIPES.items() if row.train))
    _corpus(parser)
    _output(parser, "run folder")
    _budget(parser)
    _settings(parser)
    _columns(parser)
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
    _machine(parser)
    _json(parser)


def _finetune(commands: argparse._SubParsersAction) -> None:
    parser = _command(
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
    _output(parser, "run folder")
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
    _machine(parser)
    _json(parser)


def _predict(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "predict", "predict:predict", "labels, numbers, tags or answers of a fine-tuned model")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("data", metavar="FILE", help="one text a line, text TAB text for pairs, or a table (.tsv .csv "
                        ".jsonl); - for standard input")
    parser.add_argument("--columns", metavar="text=A,pair=B", help="of a table (default: guessed, and told)")
    _machine(parser, seed=False)
    _json(parser)


def _show(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "show", "train:show", "print real training rows: pieces, segments, hidden, targets")
    parser.add_argument("recipe", metavar="RECIPE")
    _corpus(parser)
    _settings(parser)
    parser.add_argument("--examples", type=int, default=3, help="rows to print")
    parser.add_argument("--step", type=int, default=0, help="the batch they are taken from")
    parser.add_argument("--tokenizer", metavar="DIR", help="use the tokenizer of this folder instead of training one")
    parser.add_argument("--seed", type=int, default=0)


def _recipes(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "recipes", "recipes:recipes", "list what can be trained, with its size and cost")
    parser.add_argument("--size", default="mini")
    _json(parser)


def _describe(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "describe", "recipes:describe", "all about one recipe: parameters, cost, settings, deviations"
    )
    parser.add_argument("recipe", metavar="RECIPE")
    _settings(parser)
    _json(parser)


def _evaluate(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "evaluate", "judge:evaluate", "judge a trained model on held-out text")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument(
        "--task",
        help="comma-separated: cloze, perplexity, loss, words, classify, similarity, speed (default: what the model "
        "can do of cloze, perplexity, words with --pairs or --analogies, classify or similarity with --data)",
    )
    parser.add_argument(
        "--data", nargs="*", metavar="FILE", help="text to judge on, or labels (default: what training held out)"
    )
    _columns(parser)
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
    _machine(parser)
    _json(parser)


def _compare(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "compare", "judge:compare", "put run folders side by side in one report")
    parser.add_argument("models", nargs="+", metavar="DIR")
    _output(parser, "the report, one HTML file")


def _glue(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "glue", "glue:glue", "fine-tune models on a battery of tasks (GLUE), one table")
    parser.add_argument("models", nargs="+", metavar="DIR", help="run folders of any body, word vectors too")
    parser.add_argument("data", metavar="DATA",
                        help="folder of sets: DATA/NAME/train.tsv and dev.tsv (or .csv, .jsonl; compressed or not)")
    _output(parser, "results, a JSON file; the same command goes on with it")
    parser.add_argument("--tasks", help="comma-separated names of sets (default: all there but WNLI)")
    parser.add_argument("--seeds", type=int, default=3, help="fine-tunings of each set; the median is reported")
    parser.add_argument("--epochs", type=float, help="passes over each set (default: more for small sets)")
    parser.add_argument("--minutes", type=float, help="most training time of one fine-tuning")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--length", type=int, help="most pieces of a text")
    _machine(parser, seed=False)
    _json(parser)


def _fill(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "fill", "use:fill", "fill the gaps written as [MASK]")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    parser.add_argument("--top", type=int, default=5)
    _machine(parser, seed=False)
    _json(parser)


def _score(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "score", "use:score", "how likely a model holds a text")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    _machine(parser, seed=False)
    _json(parser)


def _generate(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "generate", "generate:generate", "go on writing after a text")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", nargs="?", default="",
                        help="what to go on from (default: nothing); - reads a text a line from standard input")
    parser.add_argument("--tokens", "--words", type=int, default=100,
                        help="how many at most: pieces, or words of a model of words")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 bolder (default: 1)")
    parser.add_argument("--top-k", type=int, help="only among the K likeliest")
    parser.add_argument("--top-p", type=float, help="only among the likeliest that together have this probability")
    parser.add_argument("--repetition-penalty", type=float, help="above 1: what was said becomes less likely")
    parser.add_argument("--greedy", action="store_true", help="always the likeliest")
    parser.add_argument("--weights", choices=("float32", "bfloat16", "int8"),
                        help="of the compiled step of a GPT: smaller ones are faster, int8 by 2 to 5 times")
    _machine(parser)
    _json(parser)


def _attention(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "attention", "attention:attention", "what each piece of a text looked at")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("--pair", metavar="TEXT", help="a second text, for models that read pairs")
    parser.add_argument("--layer", default="mean", help="1 is the first; mean of all, or rollout through all")
    parser.add_argument("--head", default="mean", help="1 is the first; mean of all; all, into a .png")
    parser.add_argument("--words", action="store_true", help="words instead of pieces")
    _output(parser, "a page that opens offline (.html), or a picture (.png)", required=False)
    _machine(parser, seed=False)
    _json(parser)


def _senses(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "senses", "senses:senses", "the many meanings of one word: its uses told apart")
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word vectors")
    parser.add_argument("word", metavar="WORD", nargs="?")
    asked = parser.add_argument_group("one of")
    asked.add_argument("--in", dest="in_", action="append", metavar="TEXT",
                       help="a sentence with the word; twice or more: how alike the word is in them")
    asked.add_argument("--corpus", dest="corpus_", nargs="+", metavar="CORPUS",
                       help="find the word's uses there, group them, tell and draw the groups")
    asked.add_argument("--evaluate", dest="evaluate_", nargs="+", metavar="FILE",
                       help="sense-tagged uses (.jsonl), one file or TRAIN TEST: which layer tells senses apart")
    asked.add_argument("--pseudo", dest="pseudo_", nargs="+", metavar="CORPUS",
                       help="the same without tags: pairs of words merged into one")
    _output(parser, "with --corpus: a page that opens offline and a picture beside it (.html), or the picture (.png)",
            required=False)
    parser.add_argument("--beside", nargs="+", metavar="DIR", help="other models, for --in, --evaluate and --pseudo")
    parser.add_argument("--static", metavar="DIR", help="word vectors to show beside it: one point for a word")
    parser.add_argument("--layer", help="0 is the embedding, -1 the last, mean of all (default: two thirds up)")
    parser.add_argument("--senses", type=int, metavar="K", help="groups (default: as many as fit best, 2 to 8)")
    parser.add_argument("--uses", type=int, default=300, help="of a word at most (default: 300)")
    parser.add_argument("--pairs", type=int, default=5, help="pseudo-words to make (default: 5)")
    parser.add_argument("--document", default="auto", choices=("auto", "blank-line", "line", "heading", "file"),
                        help="what a document is (default: chosen from the file)")
    _machine(parser)
    _json(parser)


def _classify(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "classify", "use:classify", "the label of a text, with its probability")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    parser.add_argument("--top", type=int, default=1)
    _machine(parser, seed=False)
    _json(parser)


def _embed(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "embed", "use:embed", "turn each line into a vector")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument(
        "data", metavar="FILE", help="one text a line, or text TAB text for pairs; - for standard input"
    )
    _output(parser, "vectors as .npy (or .npz for token and word vectors)", required=False)
    parser.add_argument("--layer", default="-1",
                        help="0 is the embedding, -1 the last; mean, or mix as a task learned it")
    parser.add_argument("--pooling", choices=("mean", "cls", "last", "max", "token", "word"),
                        help="default: mean, or what a sentence embedder was trained with")
    parser.add_argument("--dimensions", type=int, metavar="N",
                        help="only the first N numbers of each vector, at length 1 again")
    parser.add_argument("--pairs", action="store_true", help="each line is text TAB text")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "int16", "int8"),
                        help="how numbers are multiplied: auto is the fastest that moves cosines by some 1e-6 at most "
                        "on a CPU; float32 is exact, int8 the fastest")
    _machine(parser, seed=False)
    _json(parser)


def _order(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "order", "use:order", "put shuffled sentences in order with the sentence-order head")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("data", metavar="FILE", help="one sentence a line; - for standard input")
    _machine(parser, seed=False)
    _json(parser)


def _tokenize(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "tokenize", "use:tokenize", "show the pieces of a text, beside those of other tokenizers"
    )
    parser.add_argument("model", metavar="DIR", help="run folder, tokenizer folder or file")
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument(
        "--beside",
        nargs="*",
        metavar="DIR",
        help="other tokenizers (default: BPE and Unigram trained on the same text, when it is still there)",
    )
    _json(parser)


def _convert(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "convert", "files:convert", "to and from the formats of other tools")
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("target", metavar="DST")
    direction = parser.add_mutually_exclusive_group(required=True)
    formats = ("hf", "sentence-transformers", "word2vec", "glove", "fasttext", "arpa")
    direction.add_argument(
        "--to", choices=(*formats, "onnx"), help="hf: a folder that transformers opens, sentence-transformers: one "
        "that library opens, onnx: one for ONNX Runtime; others: a file (.bin for the binary form)"
    )
    direction.add_argument("--from", dest="source_format", choices=formats, help="what SRC is, as with --to")
    parser.add_argument("--int8", action="store_true", help="with --to onnx: matrices as 8-bit numbers")


def _demo(commands: argparse._SubParsersAction) -> None:
    names = ("onehot", "ratios", "vanish", "scale", "masks", "heads", "positions", "schedule")
    parser = _command(commands, "demo", "demo:demo", f"show a single idea: {', '.join(names)}")
    parser.add_argument("name", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("model", metavar="DIR", nargs="?", help="ratios: a trained GloVe")
    parser.add_argument("--words", help="comma-separated; ratios: FIRST,SECOND,PROBE...")
    _output(parser, "draw it into this .png or .svg (vanish, scale, masks, heads, positions, schedule)", required=False)
    _json(parser)


def _neighbors(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "neighbors", "words:neighbors", "the words nearest to a word, or to several together")
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    parser.add_argument("words", nargs="+", metavar="WORD")
    _top_words(parser)
    _json(parser)


def _analogy(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "analogy", "words:analogy", "A is to B as C is to what: man king woman")
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    for name in "abc":
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument("--method", default="add", choices=("add", "mul"), help="3CosAdd or 3CosMul")
    _top_words(parser)
    _json(parser)


def _similarity(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "similarity", "similarity:similarity",
        "cosine of two words or texts, or agreement with people on sets of pairs"
    )
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    parser.add_argument("words", nargs="*", metavar="TEXT", help="two words, or two texts")
    parser.add_argument("--file", metavar="FILE", help="the cosine of each line text TAB text; - for standard input")
    parser.add_argument(
        "--pairs", nargs="+", metavar="FILE", help="files or folders of pairs: word, word, number (tab, comma or space)"
    )
    _machine(parser, seed=False)
    _json(parser)


def _top_words(parser: Parser) -> None:
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--among", type=int, metavar="N", help="only among the N most frequent words")
