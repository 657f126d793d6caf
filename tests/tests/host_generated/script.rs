//! Generated scripts: their maps, probes and statements.

use std::fmt::Write as _;

use kscope_tests::random::Random;

use super::probe::{NONE, PROBES, Probe};

/// What a value is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Number,
    Text,
}

/// A map of the script: how its key is made, and what it keeps.
struct Map {
    name: String,
    key: Option<Key>,
    value: Shape,
}

#[derive(Clone, Copy)]
enum Key {
    Number,
    Text,
    Pair,
}

/// Aggregations: what is assigned, where `N` stands for a number.
const AGGREGATIONS: [&str; 13] = [
    "count()",
    "sum(N)",
    "min(N)",
    "max(N)",
    "avg(N)",
    "stats(N)",
    "hist(N)",
    "hist(N, 2)",
    "lhist(N, 0, 100, 10)",
    "sum((uint32)(N))",
    "max((int8)(N))",
    "tseries(N, 1s, 5)",
    "tseries(N, 100ms, 5, \"max\")",
];

pub(super) struct Generator {
    pub(super) random: Random,
    out: String,
    probe: &'static Probe,
    /// Nesting of expressions.
    pub(super) depth: u32,
    /// Nesting of blocks.
    blocks: u32,
    /// Loops around, of which some are over maps.
    pub(super) loops: u32,
    pub(super) map_loops: u32,
    maps: Vec<Map>,
    names: u32,
}

/// Makes a script.
pub(super) fn script(seed: u64) -> String {
    let mut random = Random::new(seed);
    let first = &PROBES[random.below(PROBES.len() as u64) as usize];
    let mut g = Generator {
        random,
        out: String::new(),
        probe: first,
        depth: 0,
        blocks: 0,
        loops: 0,
        map_loops: 0,
        maps: Vec::new(),
        names: 0,
    };
    g.preamble();
    let probes = 1 + g.random.below(2);
    for index in 0..probes {
        if index > 0 {
            let next = g.random.below(PROBES.len() as u64);
            g.probe = &PROBES[next as usize];
        }
        g.block();
    }
    g.out
}

impl Generator {
    fn preamble(&mut self) {
        let config = [
            "",
            "config = { max_strlen = 64; }\n",
            "config = { max_strlen = 100; }\n",
            "config = { event_buffer = perf; max_strlen = 33; }\n",
            "config = { stack_mode = perf; max_map_keys = 128; max_strlen = 64; }\n",
        ];
        let config = self.random.pick(&config);
        self.out += config;
        self.out += "macro twice(n) { n * 2 }\n";
        self.out +=
            "macro offset_of(n) { let $n = n; if ($n > 4) { (int64)1 } else { (int64)0 } }\n";
        for index in 0..1 + self.random.below(5) {
            let name = format!("@m{index}");
            let key = match self.random.below(5) {
                0 => None,
                1 => Some(Key::Text),
                2 => Some(Key::Pair),
                _ => Some(Key::Number),
            };
            if key.is_some() && self.random.once_in(4) {
                let kind = ["hash", "lruhash"];
                let kind = self.random.pick(&kind);
                let _ = writeln!(self.out, "let {name} = {kind}(100);");
            }
            let value = match self.random.once_in(3) {
                true => Shape::Text,
                false => Shape::Number,
            };
            self.maps.push(Map { name, key, value });
        }
    }

    /// What the probe gives here.
    pub(super) fn probe(&self) -> &'static Probe {
        if self.map_loops > 0 {
            return &NONE;
        }
        self.probe
    }

    /// A probe with its block.
    fn block(&mut self) {
        let points = self.probe.points;
        let _ = writeln!(self.out, "{points}");
        if self.random.once_in(3) {
            // The variables come later.
            let predicate = format!(
                "/pid != 1 && {} > 3/",
                self.random.pick(&["cpu", "uid", "rand"])
            );
            self.line(&predicate);
        }
        self.line("{");
        for (name, value) in [
            ("$a", "1"),
            ("$b", "-1"),
            ("$c", "nsecs"),
            ("$d", "(uint64)pid"),
        ] {
            let signed = format!("{name} = (int64)({value});");
            self.line(&signed);
        }
        self.line("$s = \"a longer string than eight\";");
        self.line("$t = comm;");
        // Every map that is read gets its types.
        self.line("if ($a == 2) {");
        for index in 0..self.maps.len() {
            self.set(index, None);
        }
        self.line("}");
        for _ in 0..1 + self.random.below(5) {
            self.statement();
        }
        self.line("printf(\"%d %d %d %d %s %s\\n\", $a, $b, $c, $d, $s, $t);");
        self.line("}");
    }

    pub(super) fn line(&mut self, text: &str) {
        for _ in 0..=self.blocks {
            self.out.push('\t');
        }
        self.out += text;
        self.out.push('\n');
    }

    pub(super) fn fresh(&mut self, start: &str) -> String {
        self.names += 1;
        format!("${start}{}", self.names)
    }

    pub(super) fn variable(&mut self, shape: Shape) -> String {
        let names: &[&str] = match shape {
            Shape::Number => &["$a", "$b", "$c", "$d"],
            Shape::Text => &["$s", "$t"],
        };
        self.random.pick(names).to_owned()
    }

    fn key(&mut self, key: Key) -> String {
        match key {
            Key::Number => format!("(int64)({})", self.number_leaf()),
            Key::Text => self.text_leaf(),
            Key::Pair => {
                format!("(int64)({}), {}", self.number_leaf(), self.text_leaf())
            }
        }
    }

    /// Reads a map with values of a shape.
    pub(super) fn of_map(&mut self, shape: Shape) -> Option<String> {
        let fit: Vec<usize> = (0..self.maps.len())
            .filter(|index| self.maps[*index].value == shape)
            .collect();
        if fit.is_empty() {
            return None;
        }
        let index = fit[self.random.below(fit.len() as u64) as usize];
        self.place(index)
    }

    /// A map's entry.
    fn place(&mut self, index: usize) -> Option<String> {
        let name = self.maps[index].name.clone();
        Some(match self.maps[index].key {
            None => name,
            // A key that is read in a key in a key goes too deep.
            Some(_) if self.depth > 8 => return None,
            Some(key) => {
                self.depth += 3;
                let key = self.key(key);
                self.depth -= 3;
                format!("{name}[{key}]")
            }
        })
    }

    /// A map that has keys, and one of them.
    pub(super) fn keyed(&mut self) -> Option<(String, String, Shape)> {
        let fit: Vec<usize> = (0..self.maps.len())
            .filter(|index| self.maps[*index].key.is_some())
            .collect();
        if fit.is_empty() || self.depth > 6 {
            return None;
        }
        let index = fit[self.random.below(fit.len() as u64) as usize];
        let name = self.maps[index].name.clone();
        let key = match self.maps[index].key? {
            Key::Pair => format!("({})", self.key(Key::Pair)),
            key => self.key(key),
        };
        Some((name, key, self.maps[index].value))
    }

    fn set(&mut self, index: usize, value: Option<&str>) {
        let Some(place) = self.place(index) else {
            return;
        };
        let text = match (self.maps[index].value, value) {
            (Shape::Number, Some(value)) => format!("{place} = (int64)({value});"),
            (Shape::Number, None) => format!("{place} = (int64)1;"),
            (Shape::Text, None) => format!("{place} = \"a longer string than eight\";"),
            (Shape::Text, Some(_)) => {
                let text = self.text();
                format!("{place} = {text};")
            }
        };
        self.line(&text);
    }

    /// Several searches one behind another, of what is known only when it runs.
    fn searches(&mut self) {
        for _ in 0..2 + self.random.below(6) {
            let (text, part) = (self.text_leaf(), self.text_leaf());
            self.line(&format!("if (strcontains({text}, {part})) {{ $a += 1; }}"));
        }
    }

    fn statement(&mut self) {
        match self.random.below(31) {
            0..=3 => {
                let (name, value) = (self.variable(Shape::Number), self.number());
                let op = self
                    .random
                    .pick(&["=", "+=", "-=", "^=", "*=", "|=", ">>="]);
                self.line(&format!("{name} {op} (int64)({value});"));
            }
            4 | 5 => {
                // Longer and longer: a text of itself and another has no end.
                let (name, value) = (self.variable(Shape::Text), self.text_leaf());
                self.line(&format!("{name} = {value};"));
            }
            6..=8 => {
                let value = self.number();
                let index = self.random.below(self.maps.len() as u64) as usize;
                self.set(index, Some(&value));
            }
            9 => {
                if let Some(place) = self.of_map(Shape::Number) {
                    let step = self
                        .random
                        .pick(&["++", "--", " += 3", " -= $a", " |= 1", " *= 2"]);
                    self.line(&format!("{place}{step};"));
                }
            }
            10..=12 => self.aggregation(),
            13 => {
                // Kept under names of their own: each has its type.
                let (name, value) = (self.fresh("").replace('$', "@w"), self.whole());
                let key = self.whole();
                let text = match self.random.below(3) {
                    0 => format!("{name} = {value};"),
                    1 => format!("{name}[{key}] = {value};"),
                    _ => format!("{name}[{key}, {}] = {value};", self.number_leaf()),
                };
                self.line(&text);
            }
            14 | 15 => self.branch(),
            16 => self.range(),
            17 => self.entries(),
            18 => self.rounds(),
            19 | 20 => {
                let (value, text, whole) = (self.number(), self.text(), self.whole());
                let conversion = self
                    .random
                    .pick(&["%d", "%x", "%llu", "%-8d", "%c", "%p", "%s"]);
                self.line(&format!(
                    "printf(\"{conversion} %s %10s\\n\", {value}, {text}, {whole});"
                ));
            }
            21 => {
                let whole = self.whole();
                self.line(&format!("print({whole});"));
            }
            22 => {
                let whole = self.whole();
                let name = self.fresh("v");
                self.line(&format!("let {name} = {whole};"));
                self.line(&format!("print({name});"));
            }
            23 => self.about_maps(),
            24 => {
                let (value, text) = (self.number_leaf(), self.text_leaf());
                let what = match self.random.below(6) {
                    0 => "time(\"%H:%M\\n\");".to_owned(),
                    1 => "cat(\"/proc/loadavg\");".to_owned(),
                    2 => format!("errorf(\"%d %s\\n\", {value}, {text});"),
                    3 => format!("warnf(\"%d\\n\", {value});"),
                    4 => format!("debugf(\"%d\", {value});"),
                    _ => format!("cat(\"/proc/%d/comm\", {value});"),
                };
                self.line(&what);
            }
            25 => {
                let condition = self.condition();
                let end = self.random.pick(&["return;", "exit();", "exit(3);"]);
                // A callback cannot end what is around it.
                if self.loops == 0 {
                    self.line(&format!("if ({condition}) {{ {end} }}"));
                }
            }
            26 if !self.probe().statements.is_empty() => {
                let statement = self.random.pick(self.probe().statements);
                self.line(statement);
            }
            27 => {
                let name = self.fresh("p");
                let (target, value) = (self.variable(Shape::Number), self.number());
                self.line(&format!("{name} = &{target};"));
                self.line(&format!("{target} = (int64)({value});"));
                self.line(&format!("$a ^= *{name};"));
            }
            28 => {
                let (name, number) = (self.fresh("f"), self.number());
                if let Some((map, key, shape)) = self.keyed() {
                    match shape {
                        Shape::Number => self.line(&format!("{name} = (int64)({number});")),
                        Shape::Text => {
                            self.line(&format!("{name} = \"a longer string than eight\";"));
                        }
                    }
                    self.line(&format!(
                        "if (find({map}, {key}, {name})) {{ print({name}); }}"
                    ));
                }
            }
            29 if self.loops == 0 => self.searches(),
            _ => {
                self.line("{");
                self.statements();
                self.line("}");
            }
        }
    }

    fn about_maps(&mut self) {
        let index = self.random.below(self.maps.len() as u64) as usize;
        let name = self.maps[index].name.clone();
        let text = match self.random.below(5) {
            0 => format!("print({name});"),
            1 => format!("clear({name});"),
            2 if self.maps[index].key.is_some() => format!("print({name}, 5);"),
            3 if self.maps[index].value == Shape::Number => format!("zero({name});"),
            _ => match self.keyed() {
                Some((map, key, _)) => format!("delete({map}, {key});"),
                None => return,
            },
        };
        if self.map_loops == 0 {
            self.line(&text);
        }
    }

    fn aggregation(&mut self) {
        let name = self.fresh("").replace('$', "@g");
        let value = self.number();
        let text = self.random.pick(&AGGREGATIONS).replace('N', &value);
        let place = match self.random.below(4) {
            0 => name.clone(),
            1 => format!("{name}[{}]", self.number_leaf()),
            2 => format!("{name}[{}]", self.whole()),
            _ => format!("{name}[{}, {}]", self.text_leaf(), self.number_leaf()),
        };
        self.line(&format!("{place} = {text};"));
        if self.random.once_in(6) {
            self.line(&format!("print({name});"));
        }
    }

    fn statements(&mut self) {
        self.blocks += 1;
        if self.blocks < 3 {
            for _ in 0..1 + self.random.below(2) {
                self.statement();
            }
        }
        self.blocks -= 1;
    }

    fn branch(&mut self) {
        let condition = self.condition();
        self.line(&format!("if ({condition}) {{"));
        self.statements();
        if self.random.once_in(3) {
            let condition = self.condition();
            self.line(&format!("}} else if ({condition}) {{"));
            self.statements();
        }
        if self.random.once_in(2) {
            self.line("} else {");
            self.statements();
        }
        self.line("}");
    }

    fn in_loop(&mut self, head: &str) {
        self.loops += 1;
        self.line(head);
        self.statements();
        if self.random.once_in(4) {
            let condition = self.condition();
            let word = self.random.pick(&["break", "continue"]);
            // `unroll` has no ends of its own.
            if !head.starts_with("unroll") {
                self.line(&format!("if ({condition}) {{ {word}; }}"));
            }
        }
        self.line("}");
        self.loops -= 1;
    }

    fn range(&mut self) {
        if self.loops > 1 {
            return;
        }
        let (name, rounds) = (self.fresh("i"), 1 + self.random.below(5));
        let head = match self.random.below(4) {
            0 => format!("unroll ({rounds}) {{"),
            1 => format!("for ({name} : 0..{rounds}) {{"),
            2 => format!("for ({name} : 0..{}) {{", rounds * 100),
            _ => {
                let bound = self.number_leaf();
                format!("for ({name} : 0..(({bound}) & 7)) {{")
            }
        };
        self.in_loop(&head);
    }

    fn rounds(&mut self) {
        if self.loops > 0 {
            return;
        }
        let (name, rounds) = (self.fresh("w"), 1 + self.random.below(5));
        self.line(&format!("{name} = 0;"));
        self.loops += 1;
        self.line(&format!("while ({name} < {rounds}) {{"));
        self.line(&format!("{name}++;"));
        self.statements();
        self.line("}");
        self.loops -= 1;
    }

    fn entries(&mut self) {
        let fit: Vec<usize> = (0..self.maps.len())
            .filter(|index| self.maps[*index].key.is_some())
            .collect();
        if fit.is_empty() || self.loops > 1 {
            return;
        }
        let index = fit[self.random.below(fit.len() as u64) as usize];
        let entry = self.fresh("e");
        let map = self.maps[index].name.clone();
        self.loops += 1;
        self.map_loops += 1;
        self.line(&format!("for ({entry} : {map}) {{"));
        match self.maps[index].value {
            Shape::Number => self.line(&format!("$b += {entry}.1;")),
            Shape::Text => self.line(&format!("$s = {entry}.1;")),
        }
        match self.maps[index].key {
            Some(Key::Text) => self.line(&format!("$t = {entry}.0;")),
            Some(Key::Number) => self.line(&format!("$c ^= {entry}.0;")),
            _ => self.line(&format!("$t = {entry}.0.1;")),
        }
        if self.random.once_in(2) {
            self.line(&format!("print({entry});"));
        }
        self.statements();
        self.line("}");
        self.map_loops -= 1;
        self.loops -= 1;
    }
}
