/* A process whose main thread ends first, and whose code another thread gives to exit some time after:
   "last_thread MICROSECONDS CODE". */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static char **words;
static void *last(void *unused) {
  (void)unused;
  usleep(atoi(words[1]));
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
