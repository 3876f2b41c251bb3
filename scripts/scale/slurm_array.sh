#!/usr/bin/env bash
# A study searched by a Slurm array: every task takes one GPU and joins the same study. Start with
#
#     AUTOPREC_STORAGE=postgresql+psycopg://autoprec@db.example.org/autoprec sbatch scripts/scale/slurm_array.sh my_study 8h
#
# The first task that runs prepares the study, the others wait for it and join. Tasks may start late, end early,
# be preempted or be requeued: the trials of a lost one are taken over a minute after its last heartbeat. No disk need be
# shared but the one that holds the definition, the model and the samples.
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=09:00:00
#SBATCH --requeue
#SBATCH --signal=B:INT@120
set -euo pipefail
study=${1:?name the study}
budget=${2:-8h}
: "${AUTOPREC_STORAGE:?set it to the address of the database}"

# Slurm sends SIGINT two minutes before the time is up: running trials are then finished first.
autoprec search --study "$study" --budget "$budget" &
search=$!
trap 'kill -INT "$search"' INT
wait "$search" || wait "$search"
