"""Files of the original: read, written, opened by gensim, and refused where they lie."""
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.fasttext.binary import FasttextFile, is_binary, read_binary, write_binary
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.files import import_fasttext, read_fasttext, write_fasttext
from polysemy.models.fasttext.model import FasttextModel
from polysemy.models.fasttext.quantized import QuantizedMatrix, Quantizer
from polysemy.models.fasttext.subword_table import subword_table
from polysemy.models.vector_files import write_vectors
from polysemy.text.vocabulary import Vocabulary, WordConfig

WORDS = ["the", "cat", "été", "北京大学", "dogs"]
UNKNOWN = ["cats", "étés", "大学", "dog"]
HEAD = struct.Struct("<ii12id")
DICTIONARY = struct.Struct("<iiiqq")


def model(mode: str = "skipgram", loss: str = "negative") -> FasttextModel:
    counts = np.array([9, 5, 3, 2, 2])
    config = FasttextConfig(size=7, shortest=2, longest=4, buckets=300, mode=mode, loss=loss, min_count=2,
                            words=WordConfig(tokens="space", lowercase=False))
    table = subword_table(WORDS, counts, 2, 4, 300)
    random = np.random.default_rng(1)
    return FasttextModel(config, Vocabulary(WORDS, counts, config.word_config, 21),
                         random.normal(size=(table.num_rows, 7)).astype(np.float32),
                         random.normal(size=(5, 7)).astype(np.float32), table.used)


def quantized(rows: int, size: int, part: int, seed: int, norms: bool) -> QuantizedMatrix:
    random = np.random.default_rng(seed)
    def table(n: int) -> np.ndarray:
        return random.normal(size=256 * n).astype(np.float32)
    return QuantizedMatrix(
        random.integers(0, 256, (rows, -(-size // part))).astype(np.uint8), Quantizer(size, part, table(size)),
        random.integers(0, 256, rows).astype(np.uint8) if norms else None, Quantizer(1, 1, table(1)) if norms else None)


def pruned_file() -> FasttextFile:
    settings = {"size": 5, "window": 5, "epochs": 5, "min_count": 1, "negatives": 5, "word_ngrams": 2,
                "loss": "softmax", "model": "classify", "buckets": 50, "shortest": 2, "longest": 3, "update_rate": 100,
                "subsample": 1e-4}
    pairs = np.array([[3, 1], [17, 0], [44, 2]], np.int32)
    return FasttextFile(settings, ["</s>", "a", "__label__x", "__label__y"], np.array([4, 3, 2, 1]), 2, 12,
                        quantized(5, 5, 2, 1, True), quantized(2, 5, 2, 2, False), pairs)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_written_file_opens_in_gensim_with_equal_vectors_of_known_and_unknown_words(tmp_path: Path) -> None:
    facebook = pytest.importorskip("gensim.models.fasttext")
    ours = model()
    write_fasttext(tmp_path / "m.bin", ours)
    theirs = facebook.load_facebook_model(str(tmp_path / "m.bin"))
    vectors = facebook.load_facebook_vectors(str(tmp_path / "m.bin"))
    assert theirs.wv.index_to_key == WORDS
    for word in WORDS + UNKNOWN:
        np.testing.assert_allclose(theirs.wv[word], ours[word], atol=1e-6)
        np.testing.assert_allclose(vectors[word], ours[word], atol=1e-6)
    np.testing.assert_array_equal(theirs.syn1neg, ours.outputs)


@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative", "hierarchical"])
def test_vectors_come_back_from_a_file(tmp_path: Path, mode: str, loss: str) -> None:
    ours = model(mode, loss)
    write_fasttext(tmp_path / "m.bin", ours)
    assert is_binary(tmp_path / "m.bin")
    back = read_fasttext(tmp_path / "m.bin")
    assert isinstance(back, FasttextModel)
    assert (back.config.mode, back.config.loss, back.index_to_key) == (mode, loss, WORDS)
    np.testing.assert_allclose(back[WORDS + UNKNOWN], ours[WORDS + UNKNOWN], atol=1e-6)
    write_fasttext(tmp_path / "n.bin", back)
    assert (tmp_path / "n.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()


def test_a_quantized_pruned_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    write_binary(tmp_path / "m.ftz", pruned_file())
    back = read_binary(tmp_path / "m.ftz")
    write_binary(tmp_path / "n.ftz", back)
    assert (tmp_path / "n.ftz").read_bytes() == (tmp_path / "m.ftz").read_bytes()
    assert isinstance(back.input, QuantizedMatrix)
    assert back.pruned is not None
    assert back.pruned.tolist() == [[3, 1], [17, 0], [44, 2]]


def test_a_quantized_row_is_its_centroids_times_its_norm() -> None:
    matrix = quantized(4, 5, 2, 3, True)
    assert matrix.norm_codes is not None
    assert matrix.norm_quantizer is not None
    centroids = matrix.quantizer.centroids
    code = matrix.codes[2].astype(int)
    expected = [*centroids[2 * code[0] : 2 * code[0] + 2], *centroids[512 + 2 * code[1] : 514 + 2 * code[1]],
                centroids[1024 + code[2]]]
    norm = matrix.norm_quantizer.centroids[int(matrix.norm_codes[2])]
    np.testing.assert_allclose(matrix.rows(np.array([2]))[0], np.array(expected) * norm, rtol=1e-6)
    np.testing.assert_array_equal(matrix.dense()[2], matrix.rows(np.array([2]))[0])


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    write_fasttext(tmp_path / "m.bin", model())
    write_binary(tmp_path / "m.ftz", pruned_file())
    for name, stride in (("m.bin", 97), ("m.ftz", 41)):
        data = (tmp_path / name).read_bytes()
        cuts = {*range(min(400, len(data))), *range(400, len(data), stride), len(data) - 1}
        for cut in sorted(cuts):
            with pytest.raises(InputError, match="must be a model of fastText"):
                read_binary(write_bytes(tmp_path / "cut", data[:cut]))
        with pytest.raises(InputError, match="1 bytes follow its end"):
            read_binary(write_bytes(tmp_path / "cut", data + b"\0"))


LIES = [
    (0, 5, "begins with 5"), (4, 10, "version is 10"), (4, 13, "version is 13"), (8, 0, "size is 0"),
    (8, -4, "size is -4"), (8, 2**31 - 1, "size is 2,147,483,647"), (40, -1, "buckets is -1"),
    (40, 2**31 - 1, "input matrix is"), (32, 9, "loss has the unknown number 9"), (36, 0, "model has the unknown"),
    (48, -1, "longest is -1"), (64, 2**30, "it claims"), (64, -1, "it claims"), (64, 0, "it claims"),
    (68, 2**31 - 1, "it claims"), (84, 2**60 >> 32, "claims"),
]


@pytest.mark.parametrize(("place", "value", "reason"), LIES)
def test_a_lie_in_the_header_is_found_before_anything_is_made(
    tmp_path: Path, place: int, value: int, reason: str
) -> None:
    write_fasttext(tmp_path / "m.bin", model())
    data = bytearray((tmp_path / "m.bin").read_bytes())
    struct.pack_into("<i", data, place, value)
    with pytest.raises(InputError, match=reason):
        read_binary(write_bytes(tmp_path / "lie.bin", bytes(data)))


def test_lies_of_a_pruned_index_are_found(tmp_path: Path) -> None:
    for pairs in ([[3, 1], [3, 0], [44, 2]], [[3, 1], [17, 1], [44, 2]], [[3, 1], [50, 0], [44, 2]],
                  [[3, 1], [17, 0], [44, 3]], [[-1, 1], [17, 0], [44, 2]]):
        file = pruned_file()
        file.pruned = np.array(pairs, np.int32)
        write_binary(tmp_path / "m.ftz", file)
        with pytest.raises(InputError, match="pruned index"):
            read_binary(tmp_path / "m.ftz")


def test_numbers_that_are_not_finite_and_repeated_words_are_refused(tmp_path: Path) -> None:
    ours = model()
    ours.inputs[2, 3] = np.nan
    write_fasttext(tmp_path / "m.bin", ours)
    with pytest.raises(InputError, match="finite"):
        read_fasttext(tmp_path / "m.bin")
    file = pruned_file()
    file.entries = ["a", "a", "__label__x", "__label__y"]
    write_binary(tmp_path / "m.ftz", file)
    with pytest.raises(InputError, match="twice"):
        read_binary(tmp_path / "m.ftz")


def test_random_damage_never_does_worse_than_refuse(tmp_path: Path) -> None:
    write_binary(tmp_path / "m.ftz", pruned_file())
    data = (tmp_path / "m.ftz").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for place in random.integers(0, 160, 2):
            damaged[place] = random.integers(0, 256)
        try:
            read_fasttext(write_bytes(tmp_path / "d.ftz", bytes(damaged)))
        except InputError:
            refused += 1
    assert refused > 100


def test_vec_files_hold_the_composed_vectors(tmp_path: Path) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    ours = model()
    write_vectors(tmp_path / "m.vec", ours, format="fasttext")
    theirs = keyed.load_word2vec_format(str(tmp_path / "m.vec"))
    np.testing.assert_allclose(theirs[WORDS], ours[WORDS], rtol=1e-4, atol=1e-5)


SENTENCES = {
    "en": "This is a sentence written in the English language.", "fr": "Ceci est une phrase écrite en français.",
    "zh": "这是一个用中文写的句子。", "de": "Dies ist ein Satz in deutscher Sprache.", "ja": "これは日本語の文章です。",
    "ru": "Это предложение написано на русском языке.", "es": "Esta es una frase escrita en español.",
}


def test_the_published_language_classifier_knows_languages(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "pretrained" / "lid.176.ftz"
    classifier = read_fasttext(path)
    assert isinstance(classifier, FasttextClassifier)
    assert len(classifier.labels) == 176
    found = classifier.predict_many(list(SENTENCES.values()), k=2)
    assert [best[0][0] for best in found] == list(SENTENCES)
    assert min(best[0][1] for best in found) > 0.7
    np.testing.assert_allclose(classifier.probabilities(["hello"]).sum(), 1, atol=1e-6)
    write_binary(tmp_path / "copy.ftz", read_binary(path))
    assert (tmp_path / "copy.ftz").read_bytes() == path.read_bytes()


def test_an_imported_file_is_a_model_folder(tmp_path: Path) -> None:
    from polysemy.artifact import finish
    ours = model()
    write_fasttext(tmp_path / "m.bin", ours)
    folder = tmp_path / "run"
    folder.mkdir()
    config = import_fasttext(tmp_path / "m.bin", folder)
    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    np.testing.assert_allclose(FasttextModel.load(folder)[WORDS + UNKNOWN], ours[WORDS + UNKNOWN], atol=1e-6)
