"""The course: its chapters as data, their programs, and the checks that a reader's programs must pass."""
