/* Functions that call each other with known arguments, as often as the first word says, with a
   pause of so many microseconds as the second says. */
#pragma GCC optimize ("O0", "no-omit-frame-pointer")
#include <stdlib.h>
#include <unistd.h>
static unsigned int answer = 4242;
__attribute__((noinline)) int kscope_inner(int number, const char *text) {
  __asm__ volatile("" ::: "memory");
  return number + text[0];
}
__attribute__((noinline)) int kscope_outer(int number, const char *text) {
  int result = kscope_inner(number, text);
  __asm__ volatile("" ::: "memory");
  return result * 2;
}
int main(int count, char **words) {
  char text[] = "hello";
  int times = count > 1 ? atoi(words[1]) : 1;
  int pause = count > 2 ? atoi(words[2]) : 0;
  volatile unsigned int *use = &answer;
  for (int i = 0; i < times; i++) {
    kscope_outer(i + (int)(*use - 4242), text);
    if (pause)
      usleep(pause);
  }
  return 7;
}
