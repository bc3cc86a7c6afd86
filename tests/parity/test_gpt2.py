"""GPT-2 to transformers and back: equal logits, equal greedy text, and the files that AutoModelForCausalLM opens."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from polysemy.artifact import load_tensors, read_json, save_tensors, write_json
from polysemy.decoding.autoregressive import generate
from polysemy.decoding.sampling import GenerationConfig
from polysemy.decoding.text import prompt_ids
from polysemy.errors import InputError
from polysemy.models import gpt
from polysemy.models.hugging_face import from_hugging_face, read_hugging_face, to_hugging_face
from polysemy.models.pretrained import PretrainingModel, open_run, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.position import Learned, Rotary
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = ["The bank of the river was green.", "She put the money into the bank, before it closed for the day!", "river"]
TOLERANCE = 2e-5


def trained() -> Tokenizer:
    return Tokenizer.train(TEXTS * 5, TokenizerConfig(kind="bytebpe", vocab_size=340, min_frequency=1))


def configured(preset: str, vocab_size: int, **transformer: Any) -> PretrainingConfig:
    config = gpt.configure("tiny", preset)
    sizes = {"hidden_size": 24, "num_heads": 3, "intermediate_size": 40, "num_layers": 3, "initializer": "xavier",
             **transformer}
    embedding = config.model.embedding.replace(vocab_size=vocab_size)
    if preset == "paper":
        embedding = embedding.replace(position=Learned(max_positions=64))
    return config.replace(
        training=config.training.replace(length=64),
        model=config.model.replace(embedding=embedding, transformer=config.model.transformer.replace(**sizes)))


def run_folder(folder: Path, preset: str, **transformer: Any) -> PretrainingModel:
    tokenizer = trained()
    config = configured(preset, tokenizer.vocab_size, **transformer)
    model = PretrainingModel(config.model, config.heads, seed=1).eval()
    with torch.no_grad():  # biases and norms too, so that none may be lost unseen
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    write_run(folder, model, tokenizer, config)
    return model


CASES = [("paper", {}, "gpt2"), ("paper", {"activation": "gelu"}, "gpt2"), ("paper", {"num_groups": 1}, "gpt2"),
         ("paper", {"norm": "post", "intermediate_size": 96}, "openai-gpt"), ("ladder", {}, "gpt_neox"),
         ("ladder", {"distance": Rotary(base=500.0), "activation": "relu", "num_groups": 2}, "gpt_neox")]


@pytest.mark.parametrize(("preset", "transformer", "kind"), CASES)
def test_their_classes_open_our_folders_with_equal_logits(preset: str, transformer: dict, kind: str,
                                                          tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", preset, **transformer)
    notes = to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert len(notes) == (kind != "gpt2")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert theirs.config.model_type == kind
    ids = torch.randint(0, ours.table.shape[0], (2, 40), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        found = ours.next_logits(ours.body(ids))
        torch.testing.assert_close(found, theirs.eval()(ids).logits, atol=TOLERANCE, rtol=0)


def test_their_tokenizer_reads_a_text_as_a_document_begins(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", "paper")
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer.padding_side == "left"
    assert tokenizer.model_max_length == 64
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == prompt_ids(trained(), text).tolist()
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize(("preset", "transformer"), [("paper", {}), ("ladder", {})])
def test_greedy_text_is_theirs_token_for_token(preset: str, transformer: dict, tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", preset, **transformer)
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    for penalty in (1.0, 1.3):
        ids = prompt_ids(trained(), TEXTS[0])
        settings = {"repetition_penalty": penalty} if penalty != 1 else {}
        wanted = theirs.generate(torch.from_numpy(ids)[None], attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
                                 max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0,
                                 **settings)[0, len(ids):].tolist()
        found = generate(ours, [ids], GenerationConfig(tokens=30, greedy=True, repetition_penalty=penalty))
        assert found[0].ids == wanted


@pytest.mark.parametrize(("preset", "transformer", "kind"), CASES)
def test_what_went_there_comes_back(preset: str, transformer: dict, kind: str, tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", preset, **transformer)
    to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert from_hugging_face(tmp_path / "hf", tmp_path / "back") == ()
    again, tokenizer, config = open_run(tmp_path / "back")
    assert (config.recipe, config.preset, config.training.length) == ("gpt", preset, 64)
    assert tokenizer.encode(TEXTS[1]).ids.tolist() == trained().encode(TEXTS[1]).ids.tolist()
    ids = torch.randint(0, ours.table.shape[0], (1, 30), generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        torch.testing.assert_close(again.next_logits(again.body(ids)), ours.next_logits(ours.body(ids)), atol=0, rtol=0)


def their_folder(folder: Path, **settings: Any) -> transformers.GPT2LMHeadModel:
    config = transformers.GPT2Config(n_embd=24, n_layer=2, n_head=2, vocab_size=340, n_positions=48, bos_token_id=2,
                                     eos_token_id=2, **settings)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    trained().save(folder)
    return model


def test_a_model_of_theirs_has_equal_logits_here(tmp_path: Path) -> None:
    theirs = their_folder(tmp_path / "hf")
    ours, _, config, notes = read_hugging_face(tmp_path / "hf")
    assert notes == ()
    assert config.recipe == "gpt"
    ids = torch.randint(0, 340, (2, 30), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        torch.testing.assert_close(ours.next_logits(ours.body(ids)), theirs(ids).logits, atol=TOLERANCE, rtol=0)


def test_files_of_the_bare_body_with_masks_of_old_are_read(tmp_path: Path) -> None:
    their_folder(tmp_path / "hf")
    wanted = read_hugging_face(tmp_path / "hf")[0].state_dict()
    tensors = load_tensors(tmp_path / "hf" / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_tensors(tmp_path / "hf" / "model.safetensors", {**old, "h.0.attn.bias": torch.ones(1, 1, 48, 48)})
    found = read_hugging_face(tmp_path / "hf")[0].state_dict()
    torch.testing.assert_close(dict(found), dict(wanted), atol=0, rtol=0)


def test_gpt_2s_own_tokenizer_gets_no_mark_in_front(tmp_path: Path) -> None:
    """Its files add nothing; neither do ours when such a model goes back."""
    their_folder(tmp_path / "hf")
    definition = read_json(tmp_path / "hf" / "tokenizer.json")
    definition["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                                    "use_regex": True}
    write_json(tmp_path / "hf" / "tokenizer.json", definition)
    from_hugging_face(tmp_path / "hf", tmp_path / "run")
    to_hugging_face(tmp_path / "run", tmp_path / "back")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert tokenizer(TEXTS[0])["input_ids"] == trained().encode(TEXTS[0]).ids.tolist()


@pytest.mark.parametrize(("change", "message"), [
    ({"activation_function": "swish"}, "activation_function must be .*, got 'swish'"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx must be False .*, got True"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings must be True .*, got False"),
    ({"n_layer": 3}, r"must hold the tensor transformer\.h\.2\."),
    ({"n_inner": 20}, r"must have shape \[20, 24\] by config\.json, got \[96, 24\]"),
    ({"n_head": 5}, "hidden_size must be a multiple of num_heads"),
    ({"vocab_size": 20}, "tokenizer must have at most vocab_size 20 pieces"),
    ({"model_type": "gpt_neox"}, "rotary_pct must be 1.0")])
def test_folders_that_do_not_fit_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    their_folder(tmp_path / "hf")
    config = tmp_path / "hf" / "config.json"
    write_json(config, read_json(config) | change)
    with pytest.raises(InputError, match=message):
        from_hugging_face(tmp_path / "hf", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("preset", "change"), [("ladder", {"norm": "post"}), ("paper", {"scale": "none"}),
                                                ("ladder", {"distance": Rotary(layout="interleaved")})])
def test_a_body_without_a_class_there_is_refused(preset: str, change: dict, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", preset, **change)
    with pytest.raises(InputError, match="keep it as a run folder"):
        to_hugging_face(tmp_path / "run", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_sampling_follows_their_distribution() -> None:
    """Their processors and ours leave the same tokens with the same probabilities."""
    from transformers.generation import logits_process as theirs

    from polysemy.decoding.sampling import distribution, penalized

    random = np.random.default_rng(0)
    for seed, (k, p, temperature, penalty) in enumerate([(None, 0.9, 0.8, 1.0), (5, 1.0, 1.5, 1.2), (30, 0.7, 1.0, 1.3),
                                                         (None, 0.01, 1.0, 0.8), (1000, 0.5, 2.0, 1.0)]):
        logits = (3 * np.random.default_rng(seed).standard_normal(200)).astype(np.float32)
        seen = random.integers(0, 200, 12)
        scores = theirs.RepetitionPenaltyLogitsProcessor(penalty)(torch.from_numpy(seen)[None],
                                                                  torch.from_numpy(logits)[None])
        scores = theirs.TemperatureLogitsWarper(temperature)(None, scores)
        scores = theirs.TopKLogitsWarper(k)(None, scores) if k else scores
        wanted = theirs.TopPLogitsWarper(p)(None, scores)[0].softmax(-1).double().numpy()
        ids, mass = distribution(penalized(logits, seen, penalty),
                                 GenerationConfig(temperature=temperature, top_k=k, top_p=p))
        found = np.zeros(200)
        found[ids] = mass
        np.testing.assert_allclose(found, wanted, atol=1e-6)
