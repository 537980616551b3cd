"""The sources of the reading order as two-column pages: prose and mathematics on the left, code on the right.

README table            -> order.py      which files, in which order
comments and docstrings -> source.py     rows of prose and code
prose                   -> prose.py      paragraphs, lists, arguments, mathematics in running text
equations               -> notation.py   a tree (tree.py), which mathml.py sets and evaluate.py computes
code                    -> code.py       colours, and with names.py links to definitions
glossary.toml           -> glossary.py   what a symbol is, here and elsewhere
papers.toml             -> papers.py     numbers of equations
all of it               -> file_page.py, lists.py, with what they share in book.py; pages.py writes them
"""
