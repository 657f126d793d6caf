// Opens and loads one object with libbpf; the exit code is 0 where all of it that is not optional was loaded.

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <bpf/libbpf.h>

int main(int count, char **words)
{
	struct bpf_object *object;
	int error;

	if (count == 1) {
		printf("%s\n", libbpf_version_string());
		return 0;
	}
	libbpf_set_print(NULL);
	object = bpf_object__open_file(words[1], NULL);
	if (!object) {
		printf("open: %s\n", strerror(errno));
		return 1;
	}
	error = bpf_object__load(object);
	if (error)
		printf("load: %s\n", strerror(-error));
	bpf_object__close(object);
	return error != 0;
}
