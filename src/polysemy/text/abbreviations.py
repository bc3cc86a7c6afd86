"""Words that a full stop belongs to, and words that open sentences: what the sentence rules look up."""
from __future__ import annotations

# Never the end of a sentence: a name, a number or the rest of the thought follows.
BEFORE_NAMES = frozenset((
    "mr", "mrs", "ms", "mssrs", "messrs", "mme", "mlle", "dr", "prof", "rev", "revd", "hon", "gen", "lieut", "lt",
    "col", "maj", "capt", "cpt", "cmdr", "comdr", "adm", "sgt", "corp", "pvt", "gov", "sen", "rep", "pres", "supt",
    "insp", "det", "mt", "ft", "fr", "msgr", "bro", "vs", "viz", "cf", "e.g", "i.e", "eg", "ie", "fig", "figs", "eq",
    "vol", "vols", "pp", "p", "ch", "sec", "sect", "ed", "eds", "trans", "art", "pt", "ibid", "op", "approx", "ca",
    "al", "dept", "univ", "assn", "bros", "ave", "blvd", "rd", "var", "esp", "incl", "resp", "m", "mm", "jan", "feb",
    "mar", "apr", "aug", "sept", "oct", "nov", "dec", "gal", "cor", "rom", "thess", "tim", "heb", "pet", "ps", "prov",
    "eccl", "isa", "jer", "ezek", "dan", "matt",
))

# Perhaps the end: only if what follows is a word that opens sentences.
PERHAPS = frozenset((
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "esq", "st", "bros", "no", "nos", "ph.d", "m.d", "b.a", "m.a", "a.m",
    "p.m", "u.s", "u.k", "d.c", "abbr", "sat", "sun", "mon", "tue", "wed", "thu", "fri", "hrs", "lbs", "oz", "tel",
    "ext", "min", "max", "est", "misc", "yd", "yds",
))
ABBREVIATIONS = BEFORE_NAMES | PERHAPS

STARTERS = frozenset((
    "the", "a", "an", "this", "that", "these", "those", "there", "then", "thus", "he", "she", "it", "they", "we", "you",
    "i", "his", "her", "its", "their", "our", "my", "your", "in", "on", "at", "by", "for", "from", "with", "without",
    "when", "while", "where", "why", "what", "who", "how", "if", "as", "but", "and", "so", "or", "yet", "although",
    "though", "because", "since", "after", "before", "until", "once", "during", "however", "moreover", "therefore",
    "meanwhile", "nevertheless", "some", "many", "most", "all", "no", "not", "now", "one", "two", "let", "do", "did",
    "is", "are", "was", "were", "have", "has", "had", "can", "could", "will", "would", "should", "may", "might",
    "please",
))

# Written small these are ordinary words, unless a number follows.
ALSO_WORDS = frozenset((
    "no", "art", "ed", "min", "max", "est", "sun", "sat", "mon", "dan", "ill", "fig", "mar", "co", "mt", "pt", "p", "m",
    "ch",
))
