"""Reports as one self-contained page: text, tables and SVG, no scripts, and nothing that is fetched from elsewhere.

``blast_page``, ``sweep_page`` and ``compare_page`` make whole pages; ``markup`` is what they are made of, and escapes
all that is not made by it.
"""
