"""Building blocks of neural models: attention, positions, embeddings, the one Transformer, heads, first weights."""
