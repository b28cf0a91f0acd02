"""What ``twistd echobench`` runs: its options, its log, its figures, and how it ends."""
