"""Studies on machines that are not this one: jobs on a Ray cluster, and recipes for SLURM, Kubernetes and Ray's launcher.

May import Ray, and every room below. The recipes themselves are in `deploy/`.
"""
