"""Flags of the commands that use what was trained."""

from __future__ import annotations

import argparse

from polysemy.cli.flags import (
    Parser,
    command,
    dtype_flag,
    json_flag,
    machine_flags,
    output_flag,
)


def predict(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "predict", "predict:predict", "labels, numbers, tags or answers of a fine-tuned model")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("data", metavar="FILE", help="one text a line, text TAB text for pairs, or a table (.tsv .csv "
                        ".jsonl); - for standard input")
    parser.add_argument("--columns", metavar="text=A,pair=B", help="of a table (default: guessed, and told)")
    dtype_flag(parser)
    machine_flags(parser, seed=False)
    json_flag(parser)


def fill(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "fill", "use:fill", "fill the gaps written as [MASK]")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    parser.add_argument("--top", type=int, default=5)
    machine_flags(parser, seed=False)
    json_flag(parser)


def score(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "score", "use:score", "how likely a model holds a text")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    machine_flags(parser, seed=False)
    json_flag(parser)


def generate(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "generate", "generate:generate", "go on writing after a text")
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
    machine_flags(parser)
    json_flag(parser)


def attention(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "attention", "attention:attention", "what each piece of a text looked at")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("--pair", metavar="TEXT", help="a second text, for models that read pairs")
    parser.add_argument("--layer", default="mean", help="1 is the first; mean of all, or rollout through all")
    parser.add_argument("--head", default="mean", help="1 is the first; mean of all; all, into a .png")
    parser.add_argument("--words", action="store_true", help="words instead of pieces")
    output_flag(parser, "a page that opens offline (.html), or a picture (.png)", required=False)
    machine_flags(parser, seed=False)
    json_flag(parser)


def senses(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "senses", "senses:senses", "the many meanings of one word: its uses told apart")
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
    output_flag(parser, "with --corpus: a page that opens offline and a picture beside it (.html), or the picture "
                "(.png)", required=False)
    parser.add_argument("--beside", nargs="+", metavar="DIR", help="other models, for --in, --evaluate and --pseudo")
    parser.add_argument("--static", metavar="DIR", help="word vectors to show beside it: one point for a word")
    parser.add_argument("--layer", help="0 is the embedding, -1 the last, mean of all (default: two thirds up)")
    parser.add_argument("--senses", type=int, metavar="K", help="groups (default: as many as fit best, 2 to 8)")
    parser.add_argument("--uses", type=int, default=300, help="of a word at most (default: 300)")
    parser.add_argument("--pairs", type=int, default=5, help="pseudo-words to make (default: 5)")
    parser.add_argument("--document", default="auto", choices=("auto", "blank-line", "line", "heading", "file"),
                        help="what a document is (default: chosen from the file)")
    machine_flags(parser)
    json_flag(parser)


def classify(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "classify", "use:classify", "the label of a text, with its probability")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("text", metavar="TEXT", help="- reads lines from standard input")
    parser.add_argument("--top", type=int, default=1)
    machine_flags(parser, seed=False)
    json_flag(parser)


def embed(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "embed", "use:embed", "turn each line into a vector")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument(
        "data", metavar="FILE", help="one text a line, or text TAB text for pairs; - for standard input"
    )
    output_flag(parser, "vectors as .npy (or .npz for token and word vectors)", required=False)
    parser.add_argument("--layer", default="-1",
                        help="0 is the embedding, -1 the last; mean, or mix as a task learned it")
    parser.add_argument("--pooling", choices=("mean", "cls", "last", "max", "token", "word"),
                        help="default: mean, or what a sentence embedder was trained with")
    parser.add_argument("--dimensions", type=int, metavar="N",
                        help="only the first N numbers of each vector, at length 1 again")
    parser.add_argument("--pairs", action="store_true", help="each line is text TAB text")
    dtype_flag(parser)
    machine_flags(parser, seed=False)
    json_flag(parser)


def order(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "order", "use:order", "put shuffled sentences in order with the sentence-order head")
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("data", metavar="FILE", help="one sentence a line; - for standard input")
    machine_flags(parser, seed=False)
    json_flag(parser)


def tokenize(commands: argparse._SubParsersAction) -> None:
    parser = command(
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
    json_flag(parser)


def neighbors(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "neighbors", "words:neighbors", "the words nearest to a word, or to several together")
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    parser.add_argument("words", nargs="+", metavar="WORD")
    _top_words(parser)
    json_flag(parser)


def analogy(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "analogy", "words:analogy", "A is to B as C is to what: man king woman")
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    for name in "abc":
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument("--method", default="add", choices=("add", "mul"), help="3CosAdd or 3CosMul")
    _top_words(parser)
    json_flag(parser)


def similarity(commands: argparse._SubParsersAction) -> None:
    parser = command(
        commands, "similarity", "similarity:similarity",
        "cosine of two words or texts, or agreement with people on sets of pairs"
    )
    parser.add_argument("model", metavar="DIR", help="run folder, or a file of word2vec, GloVe or fastText vectors")
    parser.add_argument("words", nargs="*", metavar="TEXT", help="two words, or two texts")
    parser.add_argument("--file", metavar="FILE", help="the cosine of each pair: a table (.tsv .csv .jsonl), or lines "
                        "text TAB text; - for standard input")
    parser.add_argument(
        "--pairs", nargs="+", metavar="FILE", help="files or folders of pairs: word, word, number (tab, comma or space)"
    )
    dtype_flag(parser)
    machine_flags(parser, seed=False)
    json_flag(parser)


def _top_words(parser: Parser) -> None:
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--among", type=int, metavar="N", help="only among the N most frequent words")


def convert(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "convert", "files:convert", "to and from the formats of other tools")
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


def demo(commands: argparse._SubParsersAction) -> None:
    names = ("onehot", "ratios", "vanish", "scale", "masks", "heads", "positions", "schedule")
    parser = command(commands, "demo", "demo:demo", f"show a single idea: {', '.join(names)}")
    parser.add_argument("name", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("model", metavar="DIR", nargs="?", help="ratios: a trained GloVe")
    parser.add_argument("--words", help="comma-separated; ratios: FIRST,SECOND,PROBE...")
    output_flag(parser, "draw it into this .png or .svg (vanish, scale, masks, heads, positions, schedule)",
                required=False)
    json_flag(parser)
