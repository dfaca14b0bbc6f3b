#!/usr/bin/env bash
# A Slurm cluster of this one machine, in a folder of its own, for tests of the profile: `sandbox.sh start FOLDER` or
# `sandbox.sh stop FOLDER`. Needs root and Debian's slurm-wlm and munge; touches nothing outside FOLDER, listens on
# ports of its own and ends only what it started. Clients are in FOLDER/bin.
set -euo pipefail
action=$1 folder=$(realpath -m "$2")
munge_socket=$folder/munge.socket

end() { # ends the process that a file names, and waits for it
  [ -f "$1" ] || return 0
  local pid
  pid=$(cat "$1")
  kill -0 "$pid" 2>/dev/null || return 0
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_daemon() { # start_daemon NAME COMMAND...: in the background, its process in FOLDER/NAME.pid
  local name=$1
  shift
  setsid "$@" >"$folder/$name.out" 2>&1 &
  echo $! >"$folder/$name.pid"
}

case $action in
  start)
    mkdir -p "$folder"/{bin,state,spool}
    chmod 755 "$folder"
    cores=$(nproc --all)
    host=$(hostname -s)
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 600 "$folder/munge.key"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=sandbox
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$munge_socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.own.pid
SlurmdPidFile=$folder/slurmd.own.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
MinJobAge=900
InactiveLimit=0
KillWait=5
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cores * 4)) RealMemory=65536 Gres=gpu:${SANDBOX_GPUS:-1} State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=UNLIMITED DefaultTime=10 State=UP
CONF
    # Devices that are not there: what is tested is that a GPU is asked for and counted, not that it computes.
    for number in $(seq "${SANDBOX_GPUS:-1}"); do : >"$folder/device$number"; done
    echo "Name=gpu File=$folder/device[1-${SANDBOX_GPUS:-1}]" >"$folder/gres.conf"
    # Clients by these names find the cluster whatever the environment: inside a job SLURM_CONF is gone.
    for name in sbatch srun squeue scancel scontrol sinfo; do
      printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$folder/slurm.conf" "$(command -v $name)" >"$folder/bin/$name"
      chmod +x "$folder/bin/$name"
    done
    start_daemon munged munged --foreground --force --num-threads=2 --key-file="$folder/munge.key" \
      --socket="$munge_socket" --pid-file="$folder/munged.own.pid" --log-file="$folder/munged.log" \
      --seed-file="$folder/munged.seed"
    for _ in $(seq 100); do [ -S "$munge_socket" ] && break; sleep 0.1; done
    export SLURM_CONF=$folder/slurm.conf
    start_daemon slurmctld slurmctld -D -f "$folder/slurm.conf"
    start_daemon slurmd slurmd -D -f "$folder/slurm.conf"
    for _ in $(seq 300); do
      sinfo -h -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)' && exit 0
      sleep 0.2
    done
    echo "the node did not come up" >&2
    tail -n 20 "$folder"/*.log "$folder"/*.out >&2
    exit 1
    ;;
  controller) # start the controller again, after it was killed
    export SLURM_CONF=$folder/slurm.conf
    start_daemon slurmctld slurmctld -D -f "$folder/slurm.conf"
    for _ in $(seq 300); do scontrol ping 2>/dev/null | grep -q "is UP" && exit 0; sleep 0.2; done
    exit 1
    ;;
  stop)
    export SLURM_CONF=$folder/slurm.conf
    scancel --user="$(id -un)" 2>/dev/null || true
    for name in slurmd slurmctld munged; do end "$folder/$name.pid"; done
    ;;
  *)
    echo "usage: $0 start|controller|stop FOLDER" >&2
    exit 2
    ;;
esac
