"""Drawing for reports: HTML pages with SVG charts, and pictures (``png``).

A page is self-contained: no scripts, and nothing that is fetched from elsewhere. ``markup`` makes all HTML, and escapes
all text.
"""
