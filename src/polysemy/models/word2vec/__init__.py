"""word2vec: skip-gram and continuous bag of words, with negative sampling, hierarchical softmax or full softmax."""
from polysemy.models.word2vec.config import Word2VecConfig, configure

__all__ = ["Word2VecConfig", "configure"]
