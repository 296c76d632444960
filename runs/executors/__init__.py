"""Executors: where runs are executed (this machine, Ray or Slurm)."""
