"""Every option of multi-head attention at once: shapes, weights, and a query that may see nothing."""
from __future__ import annotations

import torch

from polysemy.nn.multihead import MultiheadAttention


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    attention = MultiheadAttention(16, 4, add_bias_kv=True, add_zero_attn=True, kdim=12, vdim=10, batch_first=True)
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 7, 12), torch.randn(2, 7, 10)
    padding = torch.arange(7) >= torch.tensor([[7], [4]])
    out, weights = attention(query, key, value, key_padding_mask=padding, average_attn_weights=False)
    print(f"out {tuple(out.shape)}, weights {tuple(weights.shape)}: 7 keys, one learned and one of zeros")
    padded, least = float(weights[1, ..., 4:7].abs().max()), float(weights.sum(-1).min())
    print(f"padded keys get {padded:g}, rows add up to {least:.4f}")

    plain = MultiheadAttention(16, 4, batch_first=True)
    nothing = torch.zeros(5, 5, dtype=torch.bool)
    nothing[0] = True
    out, weights = plain(query, query, query, attn_mask=nothing)
    print(f"a query that may see nothing: weights {weights[0, 0].tolist()}")


if __name__ == "__main__":
    main()
