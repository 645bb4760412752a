#!/bin/sh
# Instructions and allocations for each single-key command: in the scheduler, and to find its footprint. The difference
# of two runs that differ only in the number of commands, so what a start costs is not in it. Needs valgrind.
set -eu
cd "$(dirname "$0")/../.."
bench=$(cargo bench --bench execution --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"execution".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
few=20000
many=120000

# Of a scheduler only its own instructions, not those of the loop around it.
instructions() {
    collect="--toggle-collect=*Scheduler>::submit --toggle-collect=*Scheduler>::complete"
    if [ "$1" = extract ]; then collect=; fi
    set -f
    # shellcheck disable=SC2086 # several options
    valgrind --tool=callgrind --callgrind-out-file=/dev/null $collect "$bench" instructions "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

allocations() {
    valgrind "$bench" instructions "$1" "$2" 2>&1 | sed -n 's/.*heap usage: \([0-9,]*\) allocs.*/\1/p' | tr -d ,
}

for what in extract sequential keyed early static graph-coarse graph-fine graph-lock-free; do
    counted=$(($(instructions "$what" $many) - $(instructions "$what" $few)))
    allocated=$(($(allocations "$what" $many) - $(allocations "$what" $few)))
    printf '%-16s %6d instructions, %d allocations for 1000 commands\n' "$what" \
        $((counted / (many - few))) $((allocated * 1000 / (many - few)))
done
