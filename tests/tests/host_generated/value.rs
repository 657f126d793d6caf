//! Values of generated scripts: numbers, texts, and what is only kept and printed.

use super::script::{Generator, Shape};

/// Names of integer types.
const INTEGERS: [&str; 8] = [
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
];

const LITERALS: [&str; 6] = [
    r#""""#,
    r#""ab""#,
    r#""abcdefg""#,
    r#""a longer string than eight""#,
    r#""aba""#,
    r#""%s\n""#,
];

/// What each probe has: numbers.
const NUMBERS: [&str; 25] = [
    "pid",
    "tid",
    "uid",
    "gid",
    "cpu",
    "ncpus",
    "nsecs",
    "elapsed",
    "rand",
    "cgroup",
    "numaid",
    "jiffies",
    "ppid",
    "nsecs(monotonic)",
    "(uint64)curtask",
    "curtask.prio",
    "curtask->real_parent->pid",
    "curtask.mm.total_vm",
    "curtask.se.vruntime",
    "sizeof(struct task_struct)",
    "offsetof(struct file, f_flags)",
    "AF_INET6",
    "TASK_RUNNING",
    "kaddr(\"vfs_read\")",
    "1_000us",
];

/// What each probe has: texts.
const TEXTS: [&str; 6] = [
    "comm",
    "probe",
    "probetype",
    "pcomm",
    "curtask.comm",
    "str($1)",
];

impl Generator {
    /// A number.
    pub(super) fn number(&mut self) -> String {
        self.depth += 1;
        let text = if self.depth > 3 || self.random.once_in(2) {
            self.number_leaf()
        } else {
            self.operation()
        };
        self.depth -= 1;
        text
    }

    pub(super) fn number_leaf(&mut self) -> String {
        match self.random.below(9) {
            0 => self.random.below(100).to_string(),
            1 => match self.random.number() {
                i64::MIN => "0x8000000000000000".to_owned(),
                number @ ..0 => format!("({number})"),
                number => number.to_string(),
            },
            2 | 3 => self.random.pick(&NUMBERS).to_owned(),
            4 | 5 if !self.probe().numbers.is_empty() => {
                self.random.pick(self.probe().numbers).to_owned()
            }
            6 => self.of_map(Shape::Number).unwrap_or_else(|| "7".to_owned()),
            _ => self.variable(Shape::Number),
        }
    }

    fn operation(&mut self) -> String {
        let left = self.number();
        match self.random.below(24) {
            0..=4 => {
                let op = self.random.pick(&["+", "-", "*", "/", "%", "&", "|", "^"]);
                format!("({left} {op} {})", self.number())
            }
            5 => {
                let op = self.random.pick(&["<<", ">>"]);
                format!("({left} {op} ({} & 31))", self.number_leaf())
            }
            6 | 7 => format!("({})({left})", self.random.pick(&INTEGERS)),
            8 => format!("({}({left}))", self.random.pick(&["-", "~", "!"])),
            9 => format!(
                "({} ? (int64)({left}) : (int64)({}))",
                self.condition(),
                self.number()
            ),
            10 => format!("(int64){}", self.condition()),
            11 => format!("bswap((uint32)({left}))"),
            12 => format!("strlen({})", self.text()),
            13 => format!(
                "(({left}, {}, 3).{})",
                self.text(),
                self.random.pick(&["0", "2"])
            ),
            14 => format!("((n=(int64)({left}), s={}).n)", self.text()),
            15 => format!(
                "((uint8[8])(uint64)({left}))[{}]",
                self.random.pick(&["0", "7", "$a & 7"])
            ),
            16 => format!(
                "(if ({}) {{ (int64)({left}) }} else {{ (int64)({}) }})",
                self.condition(),
                self.number_leaf()
            ),
            17 => format!("((int64)({left}) ?: (int64)({}))", self.number_leaf()),
            18 => format!("twice((int64)({left}))"),
            19 => format!(
                "memcmp({}, {}, 4)",
                self.variable(Shape::Text),
                self.random.pick(&LITERALS[1..])
            ),
            20 => {
                let pointer = self.fresh("p");
                let name = self.variable(Shape::Number);
                format!("{{ let {pointer} = &{name}; *{pointer} + {left} }}")
            }
            21 if self.loops == 0 => match self.random.once_in(3) {
                true => format!("strstr({}, {})", self.text_leaf(), self.text_leaf()),
                false => format!("strstr({}, \"b\")", self.text_leaf()),
            },
            22 => self.keyed_question(),
            _ => format!("offset_of({left})"),
        }
    }

    fn keyed_question(&mut self) -> String {
        let Some((map, key, _)) = self.keyed() else {
            return "1".to_owned();
        };
        match self.random.below(3) {
            0 => format!("(int64)has_key({map}, {key})"),
            1 if self.map_loops == 0 => format!("(int64)delete({map}, {key})"),
            _ if self.map_loops == 0 => format!("(int64)len({map})"),
            _ => format!("(uint8)has_key({map}, {key})"),
        }
    }

    /// Something that is true or not.
    pub(super) fn condition(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(12) {
            0..=4 => {
                let op = self.random.pick(&["<", "<=", ">", ">=", "==", "!="]);
                format!("({} {op} {})", self.number(), self.number())
            }
            5 if self.depth < 4 => {
                let op = self.random.pick(&["&&", "||"]);
                format!("({} {op} {})", self.condition(), self.condition())
            }
            6 if self.depth < 4 => format!("(!{})", self.condition()),
            7 => {
                let op = self.random.pick(&["==", "!="]);
                format!("({} {op} {})", self.text_leaf(), self.text_leaf())
            }
            8 if self.loops == 0 => {
                let function = self.random.pick(&["strcontains", "strprefix"]);
                let part = match self.random.once_in(3) {
                    // Known only when it runs.
                    true => self.text_leaf(),
                    false => self.random.pick(&LITERALS).to_owned(),
                };
                format!("{function}({}, {part})", self.text_leaf())
            }
            9 => format!(
                "(strncmp({}, {}, 3) == 0)",
                self.text_leaf(),
                self.random.pick(&LITERALS)
            ),
            10 => {
                let (n, m) = (self.number_leaf(), self.number_leaf());
                let text = self.variable(Shape::Text);
                format!("((({n}), {text}) == (({m}), {text}))")
            }
            _ => format!("({} != 0)", self.number_leaf()),
        };
        self.depth -= 1;
        text
    }

    /// A text.
    pub(super) fn text(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(8) {
            0 if self.depth < 4 => {
                format!(
                    "({} ? {} : {})",
                    self.condition(),
                    self.text_leaf(),
                    self.text_leaf()
                )
            }
            1 if self.depth < 4 => {
                format!("str_concat({}, {})", self.text_leaf(), self.text_leaf())
            }
            2 => format!("((1, {}).1)", self.text_leaf()),
            _ => self.text_leaf(),
        };
        self.depth -= 1;
        text
    }

    pub(super) fn text_leaf(&mut self) -> String {
        // What is printed by user space is no text to compare with.
        let of_probe: Vec<&str> = self
            .probe()
            .texts
            .iter()
            .copied()
            .filter(|text| !is_late(text))
            .collect();
        match self.random.below(6) {
            0 => self.random.pick(&LITERALS).to_owned(),
            1 => self.random.pick(&TEXTS).to_owned(),
            2 | 3 if !of_probe.is_empty() => self.random.pick(&of_probe).to_owned(),
            4 => self
                .of_map(Shape::Text)
                .unwrap_or_else(|| "comm".to_owned()),
            _ => self.variable(Shape::Text),
        }
    }

    /// Anything that can be kept in a map or printed.
    pub(super) fn whole(&mut self) -> String {
        match self.random.below(18) {
            0 => self.number(),
            1 => self.text(),
            2 => format!("({}, {})", self.number_leaf(), self.whole_leaf()),
            3 => format!(
                "({}, ({}, {}))",
                self.text_leaf(),
                self.number_leaf(),
                self.text_leaf()
            ),
            4 => format!(
                "(n={}, s={}, w={})",
                self.number_leaf(),
                self.text_leaf(),
                self.whole_leaf()
            ),
            5 => format!("(int32){}", self.condition()),
            _ => self.whole_leaf(),
        }
    }

    fn whole_leaf(&mut self) -> String {
        const ANYWHERE: [&str; 18] = [
            "kstack",
            "kstack(perf)",
            "kstack(raw, 4)",
            "ksym(kaddr(\"vfs_read\"))",
            "ntop(0x0100007f)",
            "ntop(AF_INET, 0x0100007f)",
            "pton(\"127.0.0.1\")",
            "pton(\"::1\")",
            "strftime(\"%H:%M:%S\", nsecs)",
            "username",
            "cgroup_path(cgroup)",
            "signal_name(9)",
            "strerror(2)",
            "syscall_name(1)",
            "curtask",
            "(uint8[4])(uint32)7",
            "curtask.comm",
            "TASK_RUNNING",
        ];
        let in_process = ["ustack", "ustack(perf, 3)", "ustack(raw)", "usym(1)"];
        match self.random.below(5) {
            0 | 1 if !self.probe().wholes.is_empty() => {
                self.random.pick(self.probe().wholes).to_owned()
            }
            2 if self.probe().in_process => self.random.pick(&in_process).to_owned(),
            _ => self.random.pick(&ANYWHERE).to_owned(),
        }
    }
}

/// Says whether a text is made when it is printed.
pub(super) fn is_late(text: &str) -> bool {
    ["strerror", "syscall_name", "path"]
        .iter()
        .any(|name| text.starts_with(name))
        || text == "func"
}
