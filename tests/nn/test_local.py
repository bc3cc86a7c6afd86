"""Local attention: blocks equal the mask, nothing leaks from outside the window, depth widens the view."""
from __future__ import annotations

import functools
import shutil
import warnings
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention as library
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models import albert, bert
from polysemy.models.encoder import Encoder, EncoderConfig
from polysemy.nn import local
from polysemy.nn.attention import Attention, Full, Visibility
from polysemy.nn.dropout import dropout_key
from polysemy.nn.linformer import Linformer
from polysemy.nn.local import Local, Window
from polysemy.nn.position import Rotary

ROWS = {"one document": None, "padding": [[0] * 29 + [-1] * 8, [0] * 37],
        "packed": [[0] * 5 + [1] * 20 + [2] * 10 + [-1] * 2, [-1] * 3 + [4] * 17 + [-1] * 2 + [9] * 15],
        "nothing": [[-1] * 37, [0] * 37]}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SMALLEST_BLOCK", 3)


def heads(t: int = 37) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 4, t, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


def window(rows: str, causal: bool, reach: int = 4) -> Window:
    numbers = ROWS[rows]
    return Window(reach, causal, None if numbers is None else torch.tensor(numbers))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach", [1, 4, 5, 20])
def test_blocks_equal_the_mask_and_so_do_their_gradients(rows: str, causal: bool, reach: int) -> None:
    found = []
    for way in ("blocks", "mask"):
        q, k, v = heads()
        look = window(rows, causal, reach)
        if way == "blocks":
            y = look.attend_in_blocks(q, k, v, 0.3)
        else:
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=look.mask(37, q.device), scale=0.3)
        y.square().sum().backward()
        found.append((y, q.grad, k.grad, v.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    if rows == "nothing":
        assert found[0][0][0].abs().max() == 0


def answers(y: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return [y, *torch.autograd.grad(y.square().sum(), inputs)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_sees_the_same(rows: str, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own definition on a CPU: it asks the rule about all pairs, whatever the blocks."""
    monkeypatch.setattr(library, "_validate_device", lambda *_: None)  # it would refuse gradients, which it has
    inputs = [x.detach().float().requires_grad_() for x in heads()]
    look = window(rows, causal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is slow when not compiled
        found = answers(look.attend_flexibly(*inputs, 0.3, library.flex_attention), inputs)
    for ours, theirs in zip(found, answers(look.attend_in_blocks(*inputs, 0.3), inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def table(counts: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """(n, n) bool from how many and which blocks each has: what of `which` is beyond the number counts for nothing."""
    assert counts.dtype == which.dtype == torch.int32
    assert counts.is_contiguous()
    assert which.is_contiguous()
    n = counts.shape[-1]
    assert int(which.min()) >= 0
    assert int(which.max()) < n
    found = torch.zeros(n, n, dtype=torch.bool)
    for block, (count, blocks) in enumerate(zip(counts[0, 0].tolist(), which[0, 0].tolist(), strict=True)):
        assert len(set(blocks[:count])) == count
        found[block, blocks[:count]] = True
    return found


def attend_as_the_kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, block_mask: library.BlockMask,
                         scale: float) -> torch.Tensor:
    """What the blocks name and the rule allows inside them, and nothing else."""
    (b, _, t, _), size = q.shape, block_mask.BLOCK_SIZE[0]
    blocks = table(block_mask.kv_num_blocks, block_mask.kv_indices)
    visited = blocks.repeat_interleave(size, 0).repeat_interleave(size, 1)[:t, :t]
    row, i, j = torch.arange(b)[:, None, None, None], torch.arange(t)[:, None], torch.arange(t)
    mask = block_mask.mask_mod(row, torch.tensor(0), i, j) & visited
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def cut(rows: str, causal: bool, reach: int, t: int) -> Window:
    look = window(rows, causal, reach)
    return Window(reach, causal, None if look.documents is None else look.documents[:, :t])


@pytest.mark.parametrize("t", [37, 36, 3])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach", [1, 4, 5, 20])
def test_the_blocks_of_flex_attention_hold_all_that_may_be_seen(rows: str, causal: bool, reach: int, t: int,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FLEX_BLOCK", 4)
    look, inputs = cut(rows, causal, reach, t), heads(t)
    found = answers(look.attend_flexibly(*inputs, 0.3, attend_as_the_kernel), inputs)
    for ours, theirs in zip(found, answers(look.attend_in_blocks(*inputs, 0.3), inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("t", [37, 36, 3])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach", [1, 4, 5, 20])
def test_the_blocks_are_those_of_the_mask_over_all_pairs(rows: str, causal: bool, reach: int, t: int,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FLEX_BLOCK", 4)
    made = cut(rows, causal, reach, t).flex_mask(t, torch.device("cpu"))
    keys, queries = table(made.kv_num_blocks, made.kv_indices), table(made.q_num_blocks, made.q_indices)
    assert torch.equal(queries, keys.T)  # the backward reads the other way round
    theirs = library.create_block_mask(made.mask_mod, 2, None, t, t, device="cpu", BLOCK_SIZE=4).to_dense().bool()[:, 0]
    assert not bool((theirs & ~keys).any())
    if rows == "one document":  # others leave blocks out that the rule empties here
        assert torch.equal(keys.expand_as(theirs), theirs)


class Largest(TorchDispatchMode):
    """The most bytes that a tensor made inside holds."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() for x in tree_leaves(made) if isinstance(x, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return made


@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_needs_no_table_of_all_pairs_nor_of_all_blocks(causal: bool) -> None:
    """At 262,144 tokens the mask over all pairs were 64 GiB, a table of all blocks 16 MiB."""
    t = 2**18
    q = torch.zeros(1, 1, t, 1)
    look = Window(64, causal, torch.arange(t)[None] // 1000)
    asked: list[library.BlockMask] = []
    with Largest() as largest:
        look.attend_flexibly(q, q, q, 1.0, lambda q, k, v, block_mask, scale: asked.append(block_mask) or q)
    made, = asked
    assert made.shape == (1, 1, t, t)
    assert 0 < largest.bytes <= 8 * 3 * t // 128
    assert bool(made.mask_mod(0, 0, torch.tensor(999), torch.tensor(999 - 64)))
    assert not bool(made.mask_mod(0, 0, torch.tensor(1000), torch.tensor(999)))


def largest_bytes(kind: Local | Linformer | Full, t: int, dropout: float, dense: bool = False) -> int:
    model = layer(kind, dropout).train()
    x = torch.randn(1, t, 32, dtype=torch.float64)
    with Largest() as largest, dropout_key(1, 2, [0]):
        model(x, Visibility.build(kind), weights=[] if dense else None).sum().backward()
    assert model.qkv.weight.grad is not None
    return largest.bytes


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("name", ["local", "linformer"])
def test_no_tensor_of_a_step_grows_faster_than_the_text(name: str, dropout: float) -> None:
    def kind(t: int) -> Local | Linformer:
        return Local(reach=16) if name == "local" else Linformer(length=t, rank=16)

    found = {t: largest_bytes(kind(t), t, dropout) for t in (512, 1024)}
    assert found[1024] <= 2.1 * found[512]
    assert all(size < 8 * t * t for t, size in found.items())
    assert largest_bytes(Full(), 512, dropout, dense=True) >= 8 * 4 * 512 * 512  # the measure sees such a tensor


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")  # a compiler may have something to say
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@torch.no_grad()
def test_flex_attention_compiled_for_a_cpu_visits_these_blocks() -> None:
    """That kernel has no backward and wants as many columns as there are blocks; it reads no more than ours."""
    compiled = torch.compile(library.flex_attention, dynamic=True)

    def flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, block_mask: library.BlockMask, scale: float,
             less: int = 0) -> torch.Tensor:
        n, width = block_mask.kv_indices.shape[2:]
        wide = torch.nn.functional.pad(block_mask.kv_indices, (0, n - width))
        theirs = library.BlockMask.from_kv_blocks(block_mask.kv_num_blocks - less, wide, seq_lengths=(1000, 1000),
                                                  mask_mod=block_mask.mask_mod, compute_q_blocks=False)
        return compiled(q, k, v, block_mask=theirs, scale=scale)

    q, k, v = torch.randn(3, 2, 2, 1000, 16).unbind()
    packed = torch.tensor([[0] * 400 + [1] * 500 + [-1] * 100, [0] * 1000])
    for look in (Window(reach, causal, rows) for reach in (100, 300) for causal in (False, True)
                 for rows in (None, packed)):
        blocks = look.attend_in_blocks(q, k, v, 0.3)
        torch.testing.assert_close(look.attend_flexibly(q, k, v, 0.3, flex), blocks, atol=1e-5, rtol=1e-5)
        missing = look.attend_flexibly(q, k, v, 0.3, functools.partial(flex, less=1))
        assert (missing - blocks).abs().max() > 0.1  # so the blocks count, not the rule alone


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("default")  # a compiler may have something to say
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_compiled_on_cuda_equals_blocks(packed: bool, causal: bool) -> None:
    t = 8000  # no multiple of the block; the mask over all pairs would be 122 MiB
    numbers = torch.arange(t).expand(2, -1) // torch.tensor([[700], [3000]])
    documents = numbers.where(torch.arange(t) < 7900, -1).cuda() if packed else None
    look = Window(100, causal, documents)
    inputs = [torch.randn(2, 2, t, 32, device="cuda", requires_grad=True) for _ in range(3)]
    assert local.flexible(inputs[0])
    expected = answers(look.attend_in_blocks(*inputs, 0.3), inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    made = look.flex_mask(t, inputs[0].device)
    assert torch.cuda.max_memory_allocated() - before < 2**20
    assert made.kv_indices.shape[-1] <= 3
    for ours, theirs in zip(answers(look.attend(*inputs, 0.3), inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-3)


def layer(kind: Local | Linformer | Full = Local(reach=4), dropout: float = 0.0) -> Attention:
    torch.manual_seed(0)
    return Attention(32, 4, kind, dropout=dropout).double()


def states(t: int = 37) -> torch.Tensor:
    return torch.randn(2, t, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("causal", [False, True])
def test_weights_on_request_are_dense_and_give_the_same_states(rows: str, causal: bool) -> None:
    numbers = ROWS[rows]
    look = Visibility.build(Local(reach=4), None if numbers is None else torch.tensor(numbers), causal=causal)
    weights: list[torch.Tensor] = []
    model, x = layer(), states()
    torch.testing.assert_close(model(x, look, weights=weights), model(x, look), atol=1e-10, rtol=0)
    gap = torch.arange(37)[:, None] - torch.arange(37)
    assert weights[0].shape == (2, 4, 37, 37)
    assert weights[0][:, :, (gap > 4) | (gap < (0 if causal else -4))].abs().max() == 0
    totals = weights[0].sum(-1)
    assert bool(((totals - 1).abs() < 1e-10).logical_or(totals == 0).all())


@pytest.mark.parametrize("causal", [False, True])
def test_a_reach_beyond_the_row_is_full_attention(causal: bool) -> None:
    x = states()
    for documents in (None, torch.tensor(ROWS["packed"])):
        wide = layer(Local(reach=36))(x, Visibility.build(Local(reach=36), documents, causal=causal))
        torch.testing.assert_close(wide, layer(Full())(x, Visibility.build(Full(), documents, causal=causal)),
                                   atol=1e-10, rtol=0)


@pytest.mark.parametrize("rows", ["one document", "packed"])
@pytest.mark.parametrize("causal", [False, True])
def test_blocks_drop_the_same_weights_as_the_mask(rows: str, causal: bool) -> None:
    model, x = layer(dropout=0.4).train(), states()
    numbers = ROWS[rows]
    look = Visibility.build(Local(reach=4), None if numbers is None else torch.tensor(numbers), causal=causal)
    with dropout_key(1, 2, [5, 8]):
        blocks = model(x, look)
    with dropout_key(1, 2, [5, 8]):
        dense = model(x, look, weights=[])
    torch.testing.assert_close(blocks, dense, atol=1e-10, rtol=0)
    assert (blocks - model.eval()(x, look)).abs().max() > 1e-2


@pytest.mark.parametrize("causal", [False, True])
def test_the_gradient_is_exactly_zero_outside_the_window(causal: bool) -> None:
    x = states().requires_grad_()
    y = layer()(x, Visibility.build(Local(reach=4), causal=causal))
    y[0, 17].sum().backward()
    assert x.grad is not None
    reached = (x.grad[0].abs().sum(-1) > 0).nonzero()[:, 0].tolist()
    assert reached == list(range(13, 18 if causal else 22))
    assert x.grad[1].abs().max() == 0


def body(num_layers: int, *, causal: bool = False, reach: int = 3, num_groups: int | None = None,
         attention_dropout: float = 0.0) -> Encoder:
    config = bert.configure("tiny", vocab_size=40).model
    transformer = config.transformer.replace(hidden_size=32, num_layers=num_layers, num_heads=2, intermediate_size=48,
                                             attention=Local(reach=reach), causal=causal, num_groups=num_groups,
                                             distance=Rotary(), initializer="xavier",
                                             attention_dropout=attention_dropout)
    torch.manual_seed(3)
    return Encoder(EncoderConfig(embedding=config.embedding, transformer=transformer)).double().eval()


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_view_grows_by_the_reach_with_every_layer(num_layers: int) -> None:
    model = body(num_layers)
    ids = torch.arange(40)[None]
    changed = ids.clone()
    changed[0, 20] = 0
    with torch.no_grad():
        moved = (model(ids) != model(changed))[0].any(-1).nonzero()[:, 0]
    assert moved.tolist() == list(range(20 - 3 * num_layers, 21 + 3 * num_layers))


@torch.no_grad()
def test_packed_documents_equal_documents_alone() -> None:
    model = body(2)
    ids = torch.randint(0, 40, (1, 37), generator=torch.Generator().manual_seed(0))
    documents = torch.tensor([[0] * 20 + [1] * 15 + [-1] * 2])
    positions = torch.tensor([[*range(20), *range(15), 0, 0]])
    packed = model(ids, positions, documents=documents)
    torch.testing.assert_close(packed[:, :20], model(ids[:, :20]), atol=1e-10, rtol=0)
    torch.testing.assert_close(packed[:, 20:35], model(ids[:, 20:35]), atol=1e-10, rtol=0)
    visible = torch.arange(37)[None] < 30
    torch.testing.assert_close(model(ids, visible=visible)[:, :30], model(ids[:, :30]), atol=1e-10, rtol=0)


@torch.no_grad()
def test_a_cache_keeps_what_is_within_reach_and_reads_on_alike() -> None:
    model = body(3, causal=True, reach=4)
    ids = torch.randint(0, 40, (2, 30), generator=torch.Generator().manual_seed(0))
    wanted = model(ids)
    for cuts in ([1] * 30, [11, 1, 18], [30]):
        state, found = None, []
        for part in ids.split(cuts, 1):
            states, state = model.advance(part, state)
            assert state[0].shape[1] <= 4
            assert state[1].shape == state[2].shape == (2, 2, state[0].shape[1], 16)
            found.append(states)
        torch.testing.assert_close(torch.cat(found, 1), wanted, atol=1e-10, rtol=0)
    _, state = model.advance(ids[:, :9], None, torch.tensor([2, 9]))
    last, _ = model.advance(ids[:, 9:15], state)
    torch.testing.assert_close(last[0], model(ids[:1, [0, 1, *range(9, 15)]])[0, 2:], atol=1e-10, rtol=0)
    torch.testing.assert_close(last[1], wanted[1, 9:15], atol=1e-10, rtol=0)


@torch.no_grad()
def test_layers_that_share_their_weights_may_be_local() -> None:
    shared = albert.configure("tiny", vocab_size=40)
    settings = {"model.transformer.attention": "local", "model.transformer.attention.reach": "2"}
    model = with_settings(shared, settings).model.body().eval()
    assert len(model.transformer.attention) == 1
    ids = torch.arange(30)[None]
    changed = ids.clone()
    changed[0, 15] = 0
    moved = (model(ids) != model(changed))[0].any(-1).nonzero()[:, 0]
    assert moved.tolist() == list(range(11, 20))  # two layers, two tokens each


def test_settings_choose_it_and_survive_a_file() -> None:
    config = with_settings(bert.configure("tiny"), {"model.transformer.attention": "local",
                                                    "model.transformer.attention.reach": "64"})
    assert config.model.transformer.attention == Local(reach=64)
    assert type(config).from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match=r"reach must be in 1\.\.1048576, got 0"):
        Local(reach=0)


LAG, SYMBOLS, LENGTH = 6, 4, 24


def copy_accuracy(num_layers: int, reach: int) -> float:
    """How often a causal model gives the symbol LAG places back, after some training on random symbols."""
    model = body(num_layers, causal=True, reach=reach).float().train()
    for module in model.modules():
        if hasattr(module, "rate"):
            module.rate = 0.0
    generator = torch.Generator().manual_seed(0)
    output = torch.nn.Linear(32, SYMBOLS)
    optimizer = torch.optim.AdamW([*model.parameters(), *output.parameters()], 3e-3)
    accuracy = 0.0
    for step in range(250):
        ids = torch.randint(0, SYMBOLS, (32, LENGTH), generator=generator)
        logits = output(model(ids))[:, LAG:]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, :-LAG].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 245:
            accuracy += float((logits.argmax(-1) == ids[:, :-LAG]).float().mean()) / 5
    return accuracy


@pytest.mark.slow
def test_a_copy_from_beyond_the_window_needs_more_layers() -> None:
    assert copy_accuracy(1, reach=3) == pytest.approx(1 / SYMBOLS, abs=0.05)
    assert copy_accuracy(3, reach=3) > 0.97
