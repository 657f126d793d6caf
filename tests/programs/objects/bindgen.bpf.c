/* One of every shape that a skeleton has to say in Rust, but for enumerations with a sign or of 64 bits,
 * which old compilers do not tell from others. */
#include "bpf.h"

#define BPF_MAP_TYPE_PERCPU_HASH 5
#define BPF_MAP_TYPE_BLOOM_FILTER 30

char LICENSE[] SEC("license") = "GPL";

enum verdict { PASS, DROP = 7, SAME = 7, LAST = 0xffffffff };
enum level { LOW = 1, HIGH = 2 };
typedef enum { name, SIZE, crate } words;

/* Numbers, text, arrays, nesting. */
struct point {
	short x, y;
};

struct numbers {
	bool truth;
	signed char tiny;
	unsigned char octet;
	char letter;
	s64 wide;
	unsigned __int128 widest;
	char text[5];
	u8 bytes[3];
	char lines[2][4];
	u32 matrix[2][3];
	struct point corners[2];
	void *pointer;
	int (*callback)(void);
	enum verdict verdict;
	enum level levels[2];
	words words;
};

struct floats {
	float single;
	double twice;
};

/* Bitfields: signed, of a truth, of an enumeration, with nameless ones between. */
struct bits {
	char before;
	u32 low : 3, : 2, high : 20;
	s32 negative : 5;
	bool flag : 1;
	enum verdict verdict : 4;
	u64 whole : 64;
	unsigned char after;
	u32 last : 23;
};

/* Unions: named, nameless, with a nameless structure and bitfields in them. */
union address {
	u32 v4;
	u8 v6[16];
};

struct unions {
	u32 family;
	union address from;
	union {
		u64 number;
		struct {
			u32 first;
			u32 second;
		};
		u8 nibble : 4;
	};
	struct {
		u16 inner;
		union {
			u16 either;
			char or[2];
		};
	};
	struct {
		u32 deep;
	} nested;
	union {
	} nothing;
	union {
		u8 one;
	} named;
};

struct __attribute__((packed)) packed {
	u8 a;
	u32 b;
	struct point c;
	u16 d : 9;
};

struct empty {
};

struct flexible {
	u32 length;
	struct empty gap;
	u16 data[];
};

/* Words of Rust, and names that skeletons have themselves. */
struct option {
	int type, self, match, _pad_0;
};

struct map {
	u32 fn;
};

/* Two names of Rust for one of C. */
struct same_name {
	u32 a;
};
struct SameName {
	u64 b;
};

typedef struct {
	u32 key;
	u8 padded;
} key_t;

typedef struct {
	u64 count;
} value_t;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, key_t);
	__type(value, value_t);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 12);
} untyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct unions);
} by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct point);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 4);
	__type(value, u32);
} filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} match SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} tail_calls SEC(".maps");

/* Global variables. */
const volatile struct numbers defaults = {
	.truth = 1, .tiny = -2, .octet = 3, .letter = 'x', .wide = -4, .widest = 5, .text = "text", .bytes = { 6, 7, 8 },
	.lines = { "ab", "cd" }, .matrix = { { 1, 2, 3 }, { 4, 5, 6 } }, .corners = { { 1, -1 }, { 2, -2 } },
	.verdict = DROP, .levels = { LOW, HIGH }, .words = crate,
};
struct bits flags = {
	.before = 1, .low = 5, .high = 0xabcde, .negative = -3, .flag = 1, .verdict = DROP, .whole = -1, .after = 9,
	.last = 0x7fffff,
};
struct packed close = { .a = 1, .b = 2, .c = { 3, 4 }, .d = 257 };
struct floats ratios = { 0.5, 0.25 };
struct option some_option;
struct map some_map;
struct same_name first;
struct SameName second;
u32 type = 3;
u32 own SEC(".data.own") = 4;
static volatile u32 hidden = 5;
/* Too large to be a value on the stack. */
char large[65537];

/* Types that only pointers have. */
const struct flexible *unused_flexible __attribute__((unused));
enum verdict *unused_verdict __attribute__((unused));

SEC("raw_tp/sched_switch")
int match_(void *ctx)
{
	u64 key = 0;

	flags.flag = hidden;
	type += defaults.octet;
	return map_lookup(&typed, &key) != 0;
}

SEC("?raw_tp/sched_wakeup")
int left_out(void *ctx)
{
	return 0;
}
