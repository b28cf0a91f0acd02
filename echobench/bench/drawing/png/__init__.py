"""Pictures for slides: the pages' own SVG charts on one sheet, rendered as PNG."""
