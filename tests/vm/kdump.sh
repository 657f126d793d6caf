#!/bin/busybox sh
# PID 1 of a guest that crashes: sets up kdump with kscope as a machine would, says how that went, and crashes.
# Written to by `cargo xtask kdump`: /guest/modules (files to load, in order), /guest/settings (shell assignments: WAY is
# disk or ssh; DISK and FILES are the device and the kind of what is mounted on /var; STEPS are the crashes, one a start),
# /etc/kscope/kdump.conf. /lib/modules and /boot are as an installed kernel has them.
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

# /var is on a disk, as what a machine keeps over a start. Some disks take a while to be there.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -b "$DISK" ] && break
    sleep 1
done
mount -t "$FILES" "$DISK" /var || say unmounted
if [ "$WAY" = ssh ]; then
    chmod 600 /root/key
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
fi
mkdir -p /var/crash
sysctl -q kernel.panic_on_oops=1

say release "$(uname -r)"
# Those before have crashed.
read -r before </var/step || before=0
rm -f /var/fill
if [ "$before" -gt 0 ]; then
    tell kscope kdump test --verify
    tell kscope kdump status
    for folder in /var/crash/*; do
        tell ls "$folder"
    done
fi
set -- $STEPS
if [ "$before" -ge "$#" ]; then
    for dump in /var/crash/*/vmcore; do
        [ "$FILES" = ext4 ] || tell kscope crash "$dump"
    done
    umount /var
    say done
    sync
    echo b >/proc/sysrq-trigger
    sleep 60
fi
shift "$before"
step=$1
echo $((before + 1)) >/var/step
[ "$before" -gt 0 ] || tell kscope kdump check
case $step in
panic)
    # Whoever boots this machine sends an NMI while the dump is written.
    echo command_line_add = unknown_nmi_panic >>/etc/kscope/kdump.conf
    ;;
hang)
    echo deadline = 1 >>/etc/kscope/kdump.conf
    ;;
esac
tell kscope kdump initrd
tell kscope kdump load
if [ "$step" = full ]; then
    # The log has room, the dump has not.
    dd if=/dev/zero of=/var/spare bs=1M count=4
    dd if=/dev/zero of=/var/fill bs=1M
    dd if=/dev/zero of=/var/fill bs=4k oflag=append conv=notrunc
    rm /var/spare
    sync
fi
tell kscope kdump check
tell kscope kdump estimate
tell kscope kdump status
if [ "$before" = 0 ]; then
    tell kscope kdump initrd --list
    tell kscope kdump load --dry-run
    tell cat /proc/iomem
fi
sync
say crash
case $step in
test) tell kscope kdump test --crash-now-and-reboot ;;
*) echo c >/proc/sysrq-trigger ;;
esac
say survived
echo b >/proc/sysrq-trigger
sleep 60
