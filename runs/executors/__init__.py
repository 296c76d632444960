"""Where runs are performed: on this machine, on a Ray cluster, or by Slurm."""
