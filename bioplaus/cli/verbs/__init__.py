"""One file a verb, each with ``main(words) -> exit status``."""
