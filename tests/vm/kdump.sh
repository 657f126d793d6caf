#!/bin/busybox sh
# PID 1 of a guest that crashes: sets up kdump with kscope as a machine would, says how that went, and crashes.
# Written to by `cargo xtask kdump`: /guest/modules (files to load, in order), /guest/settings (shell assignments:
# WAY is disk or ssh), /etc/kscope/kdump.conf. /lib/modules and /boot are as an installed kernel has them.
# Report lines begin with "@@"; what a command printed is indented by "| ".

/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var /root
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
hostname guest
ip link set lo up

report=/dev/ttyS1
stty -F $report raw -echo 115200
exec 3>$report
say() { echo "@@ $*" >&3; }
. /guest/settings

# Nobody waits for ever.
(
    sleep 240
    say late
    echo b >/proc/sysrq-trigger
) &

while read -r module; do
    insmod "/modules/$module" || say module "$module"
done </guest/modules

tell() {
    "$@" >/tmp/out 2>&1
    code=$?
    say ran $code "$@"
    sed 's/^/| /' /tmp/out >&3
    return $code
}

# /var is on a disk, as what a machine keeps over a start.
mount -t ext4 /dev/vda1 /var || say unmounted
if [ "$WAY" = ssh ]; then
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
fi
mkdir -p /var/crash
sysctl -q kernel.panic_on_oops=1

say release "$(uname -r)"
if [ -e /var/crashed ]; then
    # The machine has started again.
    tell kscope kdump test --verify
    tell kscope kdump status
    umount /var
    say done
    sync
    echo b >/proc/sysrq-trigger
    sleep 60
fi
tell kscope kdump check
tell kscope kdump initrd
tell kscope kdump initrd --list
tell kscope kdump load --dry-run
tell kscope kdump load
tell kscope kdump check
tell kscope kdump estimate
tell kscope kdump status
tell cat /proc/iomem
touch /var/crashed
sync
say crash
tell kscope kdump test --crash-now-and-reboot
say survived
echo b >/proc/sysrq-trigger
sleep 60
