"""What each kind of tokenizer is made of: special tokens, normalizer, pre-tokenizer, template, decoder.

    wordpiece   BERT (Devlin 2019): clean, space out Chinese characters, lower case without accents; split at spaces
                and punctuation; [CLS] A [SEP] B [SEP]
    bpe         characters merged by frequency (Sennrich 2016, without </w>): NFKC, a space becomes the mark U+2581 in
                front of its word; runs of letters, of digits, of anything else are kept apart; BERT's template
    bytebpe     GPT-2 and RoBERTa: the same over 256 bytes, so nothing is ever unknown; <s> A </s></s> B </s>
    unigram     Kudo 2018 in ALBERT's layout: split as bpe, so that no piece mixes letters with punctuation
    word        whole words and signs, Chinese characters apart, ids by falling frequency; rarer words are unknown
    space       whole tokens between white space as they stand, for text that is cut already (WikiText, PTB)

The letters of a `bpe` or `unigram` word are split from punctuation also for safety: a piece spelled like a special
token ("[MASK]" typed by a user) can never be formed, while the plain Metaspace split of ALBERT's own files allows it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

KINDS = ("wordpiece", "bpe", "bytebpe", "unigram", "word", "space")
WHOLE = ("word", "space")
"""kinds whose pieces are whole words"""
ROLES = ("pad", "unk", "cls", "sep", "mask")
SPACE_MARK = "▁"
MARKS = ("[S]", "[/S]")

# the order is the order of the ids
SPECIAL_TOKENS: dict[str, dict[str, str]] = {
    "wordpiece": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "bpe": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "bytebpe": {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"},
    "unigram": {"pad": "<pad>", "unk": "<unk>", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "word": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "space": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
}
# what a role may be called in files made elsewhere, best first
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>", "<|endoftext|>"),
    "cls": ("[CLS]", "<s>", "<cls>", "<|endoftext|>"),
    "sep": ("[SEP]", "</s>", "<sep>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}

_LETTERS = "\\p{L}\\p{M}\u00ad\u200c\u200d\u2060"
WORD_PATTERN = f"▁?[{_LETTERS}]+|▁?\\p{{N}}+|▁?[^{_LETTERS}\\p{{N}}▁]+|▁"
SPACE_PATTERN = "[\\p{Cc}\\p{Z}▁]+"


def normalizer(kind: str, lowercase: bool) -> tokenizers.normalizers.Normalizer | None:
    """The text clean-up of a kind; None leaves the text as it is."""
    from tokenizers import Regex, normalizers

    if kind == "wordpiece":
        return normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None,
                                          lowercase=lowercase)
    lower = [normalizers.Lowercase()] if lowercase else []
    if kind == "word":
        return normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False,
                                          lowercase=lowercase)
    if kind in ("bytebpe", "space"):
        return normalizers.Sequence(lower) if lower else None
    return normalizers.Sequence([normalizers.NFKC(), *lower, normalizers.Replace(Regex(SPACE_PATTERN), " "),
                                 normalizers.Strip(left=False, right=True)])


def pre_tokenizer(kind: str, prefix_space: bool = False) -> tokenizers.pre_tokenizers.PreTokenizer:
    """How a kind cuts text into the words that are then cut into pieces."""
    from tokenizers import Regex, pre_tokenizers

    if kind in ("wordpiece", "word"):
        return pre_tokenizers.BertPreTokenizer()
    if kind == "space":
        return pre_tokenizers.WhitespaceSplit()
    if kind == "bytebpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    return pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement=SPACE_MARK, prepend_scheme="first", split=False),
        pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated"),
    ])


def decoder(kind: str) -> tokenizers.decoders.Decoder:
    """What turns pieces back into text."""
    from tokenizers import decoders

    if kind in ("wordpiece", *WHOLE):
        return decoders.WordPiece(prefix="##", cleanup=kind != "space")
    if kind == "bytebpe":
        return decoders.ByteLevel()
    return decoders.Metaspace(replacement=SPACE_MARK, prepend_scheme="first")


def template(kind: str, ids: dict[str, int], names: dict[str, str], prefix_space: bool = False) -> Any:
    """The special tokens around one text or a pair, as transformers will add them."""
    from tokenizers import processors

    cls, sep = (names["cls"], ids["cls"]), (names["sep"], ids["sep"])
    if kind == "bytebpe":
        return processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=prefix_space)
    return processors.TemplateProcessing(
        single=f"{cls[0]}:0 $A:0 {sep[0]}:0", pair=f"{cls[0]}:0 $A:0 {sep[0]}:0 $B:1 {sep[0]}:1",
        special_tokens=[cls, sep])


def assemble(model: Any, kind: str, names: dict[str, str], *, lowercase: bool, prefix_space: bool = False,
             marks: tuple[str, ...] = ()) -> tokenizers.Tokenizer:
    """A whole tokenizer of our own kind around a trained model whose vocabulary holds the special tokens."""
    from tokenizers import AddedToken, Tokenizer

    built = Tokenizer(model)
    clean = normalizer(kind, lowercase)
    if clean is not None:
        built.normalizer = clean
    built.pre_tokenizer = pre_tokenizer(kind, prefix_space)
    built.decoder = decoder(kind)
    # the mask takes the space before it along where a space belongs to the word after it
    takes_space = kind not in ("wordpiece", *WHOLE)
    built.add_special_tokens([AddedToken(name, special=True, normalized=False, lstrip=takes_space and role == "mask")
                              for role, name in names.items()])
    if marks:
        built.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in marks])
    ids = {role: built.token_to_id(name) or 0 for role, name in names.items()}
    if "cls" in ids and "sep" in ids:
        built.post_processor = template(kind, ids, names, prefix_space)
    return built
