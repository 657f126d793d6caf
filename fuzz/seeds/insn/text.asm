r6 = r1
w0 = 3
r0 = *(u64 *)(r6 + 16)
*(u32 *)(r10 - 4) = 7
loop: r0 += -1
if r0 s> 0 goto loop
r1 = 0x1234567890 ll
call bpf_get_current_pid_tgid#14
r0 = be16 r0
lock *(u64 *)(r10 - 8) += r1
call next
exit
next: r0 = 1
exit
