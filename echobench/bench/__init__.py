"""The other half: load, comparison, judgement. Needs the extra ``bench`` (numpy, click, rich)."""
