#!/bin/busybox sh
# PID 1 of a test guest: runs each test of each suite in a process of its own and reports over the second serial port.
# Written to by `cargo xtask vm`: /guest/settings (shell assignments), /guest/modules (files to load, in order),
# /guest/environment (exported to every test), /guest/tests (suite and test, one a line), /tests/* (static executables).
# Report lines begin with "@@"; what a test printed is indented by "| ".

/bin/busybox mkdir -p /proc /sys /dev /run /tmp /mnt
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /root
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
ip link set lo up
hostname guest

report=/dev/ttyS1
stty -F $report raw -echo 115200

exec 3>$report

. /guest/settings
set -a
. /guest/environment
set +a

say() { echo "@@ $*" >&3; }
centiseconds() { tr -d . </proc/uptime | cut -d' ' -f1; }

# The harness may die before it can kill the emulator, so the guest ends by itself too.
(
    sleep "$GUEST_SECONDS"
    say late
    echo b >/proc/sysrq-trigger
) &
watchdog=$!

# What a test leaves behind is handed to PID 1; it must not disturb the next test.
reap() {
    for pid in $(awk '/^Pid:/ { pid = $2 } /^PPid:/ { if ($2 == 1) print pid }' /proc/[0-9]*/status 2>/dev/null); do
        [ "$pid" = $watchdog ] || kill -9 "$pid" 2>/dev/null
    done
}

run_test() {
    say begin "$1" "$2"
    started=$(centiseconds)
    timeout -s KILL "$TEST_SECONDS" "/tests/$1" --exact "$2" --include-ignored --nocapture >/tmp/.output 2>&1 3>&-
    code=$?
    spent=$((($(centiseconds) - started) * 10))
    tail -c 32768 /tmp/.output | tr -d '\000\r' | sed 's/^/| /' >&3
    # The last line may lack its newline.
    echo >&3
    say end "$1" "$2" $code $spent
    reap
}

say release "$(uname -r)" "$(cut -d" " -f1 /proc/uptime)"
while read -r module; do
    insmod "/modules/$module" || say module "$module"
done </guest/modules

while read -r suite test; do
    run_test "$suite" "$test"
done </guest/tests

say done
sync
echo b >/proc/sysrq-trigger
sleep 60
