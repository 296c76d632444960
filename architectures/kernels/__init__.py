"""What makes components fast and nothing else; each operation's plain version stands beside it."""
