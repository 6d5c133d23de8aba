#!/usr/bin/env bash
# A study on SLURM nodes: sbatch slurm.sh PRESET_OR_YAML [--set KEY=VALUE ...]. See slurm.md.
#
# Change these; what is given to sbatch overrules them (sbatch --nodes=1 ...):
#SBATCH --job-name=wbc-study
#SBATCH --nodes=2
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=1-00:00:00
#SBATCH --output=wbc-study-%j.log
# One Ray node on each; after a preemption the same study goes on:
#SBATCH --ntasks-per-node=1
#SBATCH --requeue

# The virtual environment with wbc-study[cluster]; every node sees it at this path.
ENVIRONMENT=${WBC_STUDY_ENVIRONMENT:-$HOME/wbc-study/.venv}
# Where studies are written: a folder that all nodes share, or s3://bucket/prefix.
export WBC_STUDY_ROOT=${WBC_STUDY_ROOT:-$HOME/wbc-studies}
# Decoded images, on a disk of each node's own.
export WBC_STUDY_CACHE=${WBC_STUDY_CACHE:-/tmp/wbc-study-$(id -u)}
# A port that is free on the first node.
PORT=${WBC_STUDY_PORT:-6379}
# End of what to change.

set -euo pipefail
export PATH="$ENVIRONMENT/bin:$PATH"
# Other users can reach the nodes: Ray answers only those who have this job's token.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
(umask 077 && python -c "import secrets; print(secrets.token_hex(32), end='')" >"$RAY_AUTH_TOKEN_PATH")
export RESULT="$PWD/.wbc-study-result-$SLURM_JOB_ID"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH" "$RESULT"' EXIT
# Ray's own files, apart from those of other users of the node.
export RAY_TMPDIR=${RAY_TMPDIR:-/tmp/wbc-study-ray-$(id -u)}
# What wbc-study sets where it starts Ray itself.
export RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --ntasks="$SLURM_JOB_NUM_NODES" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
  ray symmetric-run --address "$HEAD:$PORT" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
  -- bash -c 'wbc-study run "$@" --address auto; echo $? >"$RESULT"' bash "${@:-cluster}"
# Ray's symmetric run is content even when Ray did not start.
[ -s "$RESULT" ] || { echo "Ray did not start; the reason stands above. Submitting the same again continues the study." >&2; exit 1; }
exit "$(cat "$RESULT")"
