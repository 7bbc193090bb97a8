"""From expressions to source text: what a cell's step, its partials and their transposes are run as.

`folded` knows no language; a printer (`torch_printer`) writes it down in one; `source` makes functions of the text.
"""
