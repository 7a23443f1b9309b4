"""Entry points: argument parsing and a call."""
