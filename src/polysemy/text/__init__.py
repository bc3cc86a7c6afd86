"""Text: reading, splitting into documents, sentences and words, tokenizing, batching. Never imports torch."""
