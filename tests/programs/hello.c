/* The classic example: opens ./hello.c and reads a word of it, then waits for a key. */
#include <stdio.h>

int main(void)
{
    char word[64];
    FILE *file = fopen("./hello.c", "r");
    if (file == NULL)
        return 1;
    if (fscanf(file, "%63s", word) == 1)
        printf("%d %s\n", fileno(file), word);
    fflush(stdout);
    getchar();
    return 0;
}
