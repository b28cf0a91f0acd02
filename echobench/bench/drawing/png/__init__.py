"""Pictures for slides, drawn by matplotlib from the same charts as the pages."""
