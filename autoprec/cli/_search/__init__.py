"""What the command `search` takes, and how it tells what it does."""
