// Loads objects with libbpf.
//
//     libbpf_load                       prints the version of libbpf
//     libbpf_load OBJECT [SIZE]...      opens and loads the object; the exit code is 0 where all of it that is
//                                       not optional was loaded
//     libbpf_load -e OBJECT [SIZE]...   loads and attaches each program, by itself where the object does not load
//                                       whole, and prints a line for each: its name, `attached`, or `load` or
//                                       `attach` and why not
//
// A SIZE is MAP=ENTRIES:VALUE, what a map is given before loading, as tools do; 0 leaves what the object says.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>

static int resize(struct bpf_object *object, char **sizes)
{
	for (; *sizes; sizes++) {
		char name[64];
		unsigned int entries, value;
		struct bpf_map *map;

		if (sscanf(*sizes, "%63[^=]=%u:%u", name, &entries, &value) != 3)
			return -EINVAL;
		map = bpf_object__find_map_by_name(object, name);
		if (!map)
			return -ENOENT;
		if (entries && bpf_map__set_max_entries(map, entries))
			return -EINVAL;
		if (value && bpf_map__set_value_size(map, value))
			return -EINVAL;
	}
	return 0;
}

static void attach(struct bpf_program *program)
{
	struct bpf_link *link;

	errno = 0;
	link = bpf_program__attach(program);
	if (link)
		printf("%s\tattached\t\n", bpf_program__name(program));
	else
		printf("%s\tattach\t%s\n", bpf_program__name(program), errno ? strerror(errno) : "no target");
	bpf_link__destroy(link);
}

// Tells whether the object loads whole; then its programs are attached one after the other.
static int together(const char *path, char **sizes)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	int error;

	if (!object)
		return 0;
	error = resize(object, sizes);
	if (!error)
		error = bpf_object__load(object);
	if (!error)
		bpf_object__for_each_program(program, object)
			attach(program);
	bpf_object__close(object);
	return !error;
}

// Gives false once there is no program of this number.
static int alone(const char *path, char **sizes, int number)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program, *wanted = NULL;
	int error, count = 0;

	if (!object) {
		printf("\tload\t%s\n", strerror(errno));
		return 0;
	}
	bpf_object__for_each_program(program, object) {
		if (count == number)
			wanted = program;
		bpf_program__set_autoload(program, count++ == number);
	}
	if (wanted) {
		error = resize(object, sizes);
		if (!error)
			error = bpf_object__load(object);
		if (error)
			printf("%s\tload\t%s\n", bpf_program__name(wanted), strerror(-error));
		else
			attach(wanted);
	}
	bpf_object__close(object);
	return wanted != NULL;
}

int main(int count, char **words)
{
	struct bpf_object *object;
	int error;

	if (count == 1) {
		printf("%s\n", libbpf_version_string());
		return 0;
	}
	libbpf_set_print(NULL);
	if (!strcmp(words[1], "-e")) {
		if (count < 3)
			return 2;
		if (!together(words[2], words + 3))
			for (int number = 0; alone(words[2], words + 3, number); number++)
				;
		return 0;
	}
	object = bpf_object__open_file(words[1], NULL);
	if (!object) {
		printf("open: %s\n", strerror(errno));
		return 1;
	}
	error = resize(object, words + 2);
	if (!error)
		error = bpf_object__load(object);
	if (error)
		printf("load: %s\n", strerror(-error));
	bpf_object__close(object);
	return error != 0;
}
