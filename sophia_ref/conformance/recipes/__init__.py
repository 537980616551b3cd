"""How the conformance vectors are made: `python -m sophia_ref.conformance.recipes`, or `make vectors`.

A recipe is inputs and the bug that they catch; what must come out is computed by the reference (`recipe.realize`), how
far off another correct implementation may be by computing it in every other order that is as good (`orders`).
"""
