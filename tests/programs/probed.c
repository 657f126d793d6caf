/* A probe of two places, with a semaphore and arguments, as <sys/sdt.h> writes it. */
__attribute__((section(".probes"), used)) volatile unsigned short app_work_semaphore;
__asm__(
  ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
  ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n"
  ".size _.stapsdt.base, 1\n.popsection\n");
#define PROBE(number, value) \
  __asm__ volatile("990: nop\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b\n.8byte _.stapsdt.base\n" \
    ".8byte app_work_semaphore\n.asciz \"app\"\n.asciz \"work\"\n" \
    ".asciz \"8@%[v] -4@$" #number "\"\n994: .balign 4\n.popsection\n" :: [v] "r" (value))
int main(void) {
  unsigned long value = 4711;
  int listeners = app_work_semaphore;
  PROBE(-7, value);
  PROBE(8, value + 1);
  return listeners;
}
