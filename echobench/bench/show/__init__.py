"""The command ``echobench show``: stored results of all commands, in all forms."""
