"""Compiled inner loops shared by the models of static word vectors; nothing here imports torch."""
