/* A process whose main thread ends first, and whose code another thread gives to exit some time after:
   "last_thread MICROSECONDS CODE". The time is counted from the main thread's end, however slow the machine is. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char **words;
static int main_thread_has_ended(void) {
  char path[64], stat[512];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
  FILE *file = fopen(path, "r");
  if (!file)
    return 1;
  size_t length = fread(stat, 1, sizeof stat - 1, file);
  fclose(file);
  stat[length] = 0;
  return strstr(stat, ") Z") != 0;
}
__attribute__((noinline)) void kscope_ending(int code) { __asm__ volatile("" : : "r"(code)); }
static void *last(void *unused) {
  (void)unused;
  for (int turn = 0; turn < 10000 && !main_thread_has_ended(); turn++)
    usleep(1000);
  usleep(atoi(words[1]));
  kscope_ending(atoi(words[2]));
  exit(atoi(words[2]));
}
int main(int count, char **all) {
  pthread_t thread;
  if (count != 3)
    return 2;
  words = all;
  if (pthread_create(&thread, 0, last, 0))
    return 3;
  pthread_exit(0);
}
