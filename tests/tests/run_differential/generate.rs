//! Random scripts: expressions of integers, strings, maps of all kinds, branches and loops.

use std::fmt::Write as _;

use kscope_tests::random::Random;

const NUMBERS: [&str; 4] = ["$a", "$b", "$c", "$d"];
const STRINGS: [&str; 5] = [
    r#""""#,
    r#""ab""#,
    r#""abcdefg""#,
    r#""a longer string than eight""#,
    r#""aba""#,
];

struct Generator {
    random: Random,
    out: String,
    depth: u32,
    loops: u32,
    can: Can,
}

/// What the scripts may have.
#[derive(Clone, Copy)]
pub(super) struct Can {
    /// Loops over ranges whose bounds are not constant.
    pub(super) open_ranges: bool,
    /// Loops over the entries of maps.
    pub(super) loops_over_maps: bool,
}

/// Makes a script of one probe that prints its variables in the end.
pub(super) fn script(seed: u64, can: Can) -> String {
    let mut g = Generator {
        random: Random::new(seed),
        out: String::new(),
        depth: 0,
        loops: 0,
        can,
    };
    g.out += "rawtracepoint:sched_switch {\n";
    for (n, name) in NUMBERS.iter().enumerate() {
        let _ = writeln!(g.out, "  {name} = (int64)arg{n};");
    }
    // The longest first, so that the variables have room for all.
    let _ = writeln!(g.out, "  $s = {};\n  $t = \"\";", STRINGS[3]);
    // Every map that is read gets its types.
    let longest = STRINGS[3];
    let _ = writeln!(
        g.out,
        "  if ($a == 1) {{ @scalar0 = (int64)1; @scalar1 = $b; @keyed[$b & 7] = $c; @text[$b & 3] = {longest}; }}"
    );
    for _ in 0..4 + g.random.below(8) {
        g.statement();
    }
    g.out += "  printf(\"%d %d %d %d %s %s\\n\", $a, $b, $c, $d, $s, $t);\n}\n";
    g.out
}

impl Generator {
    fn expression(&mut self) -> String {
        self.depth += 1;
        let text = if self.depth > 3 {
            self.leaf()
        } else {
            self.operation()
        };
        self.depth -= 1;
        text
    }

    fn leaf(&mut self) -> String {
        match self.random.below(5) {
            0 => format!("(int64){}", self.random.number().max(-i64::MAX)),
            1 => format!("(int64)arg{}", self.random.below(12)),
            2 => format!("@scalar{}", self.random.below(2)),
            _ => self.random.pick(&NUMBERS).to_owned(),
        }
    }

    fn operation(&mut self) -> String {
        let kind = self.random.below(12);
        let left = self.expression();
        match kind {
            0..=4 => {
                let op = ["+", "-", "*", "/", "%", "&", "|", "^"];
                let op = self.random.pick(&op);
                let right = self.expression();
                format!("(int64)({left} {op} {right})")
            }
            5 => {
                let op = self.random.pick(&["<<", ">>"]);
                let right = self.expression();
                format!("(int64)({left} {op} ({right} & 63))")
            }
            6 => {
                let types = [
                    "int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64",
                ];
                format!("(int64)({}){left}", self.random.pick(&types))
            }
            7 => {
                let op = self.random.pick(&["-", "~"]);
                format!("({op}{left})")
            }
            8 => {
                let condition = self.condition();
                let right = self.expression();
                format!("({condition} ? {left} : {right})")
            }
            9 => format!("@keyed[{left} & 7]"),
            10 => {
                let op = self.random.pick(&["/", "%", ">>"]);
                let right = self.expression();
                format!("(int64)((uint64){left} {op} ((uint64){right} & 31))")
            }
            _ => format!("(int64){}", self.condition()),
        }
    }

    fn condition(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(9) {
            0..=3 => {
                let op = self.random.pick(&["<", "<=", ">", ">=", "==", "!="]);
                let (left, right) = (self.expression(), self.expression());
                format!("({left} {op} {right})")
            }
            4 if self.depth < 5 => {
                let op = self.random.pick(&["&&", "||"]);
                let (left, right) = (self.condition(), self.condition());
                format!("({left} {op} {right})")
            }
            5 if self.depth < 5 => format!("(!{})", self.condition()),
            6 => {
                let (left, right) = (self.random.pick(&["$s", "$t"]), self.string());
                let op = self.random.pick(&["==", "!="]);
                format!("({left} {op} {right})")
            }
            // A search is a loop of its own; one in another is more than verifiers like.
            7 if self.loops == 0 => {
                let needle = self.random.pick(&STRINGS);
                format!("strcontains($s, {needle})")
            }
            _ => format!("has_key(@keyed, {} & 7)", self.leaf()),
        };
        self.depth -= 1;
        text
    }

    fn string(&mut self) -> String {
        match self.random.below(4) {
            0 => self.random.pick(&["$s", "$t"]).to_owned(),
            1 => format!("@text[{} & 3]", self.leaf()),
            _ => self.random.pick(&STRINGS).to_owned(),
        }
    }

    fn line(&mut self, text: &str) {
        self.out += "  ";
        self.out += text;
        self.out.push('\n');
    }

    fn statement(&mut self) {
        let value = self.expression();
        match self.random.below(18) {
            0 | 1 => {
                let variable = self.random.pick(&NUMBERS);
                let op = self.random.pick(&["=", "+=", "-=", "^="]);
                self.line(&format!("{variable} {op} {value};"));
            }
            2 => {
                let (variable, text) = (self.random.pick(&["$s", "$t"]), self.string());
                self.line(&format!("{variable} = {text};"));
            }
            3 => {
                let scalar = self.random.below(2);
                self.line(&format!("@scalar{scalar} = {value};"));
            }
            4 => {
                let key = self.expression();
                self.line(&format!("@keyed[{key} & 7] = {value};"));
            }
            5 => {
                let op = self.random.pick(&["++", "--"]);
                self.line(&format!("@keyed[{value} & 7]{op};"));
            }
            6 => {
                let (key, text) = (self.leaf(), self.string());
                self.line(&format!("@text[{key} & 3] = {text};"));
            }
            7 => self.aggregation(&value),
            8 => self.line(&format!("delete(@keyed, {value} & 7);")),
            9 | 10 => self.branch(),
            11 => self.repeat(),
            12 => {
                let (n, text) = (self.leaf(), self.string());
                self.line(&format!(
                    "@pairs[(uint8){n}, {text}] = ({value}, (int16){n});"
                ));
            }
            15 | 16 if self.can.loops_over_maps => self.entries(),
            17 => {
                let variable = self.random.pick(&NUMBERS);
                let pointer = format!("$p{}", self.out.len());
                self.line(&format!("{pointer} = &{variable};"));
                self.line(&format!("{variable} = {value};"));
                self.line(&format!("$a ^= *{pointer};"));
            }
            13 => {
                let (n, text) = (self.leaf(), self.string());
                self.line(&format!("print(({value}, {text}, (int16){n}));"));
            }
            _ => {
                let variable = self.random.pick(&NUMBERS);
                self.line(&format!(
                    "printf(\"%d %d %u\\n\", {variable}, {value}, (uint8){variable});"
                ));
            }
        }
    }

    fn aggregation(&mut self, value: &str) {
        let key = self.leaf();
        let text = match self.random.below(10) {
            0 => "@count = count();".to_owned(),
            1 => format!("@counts[{key} & 7] = count();"),
            2 => format!("@sum[{key} & 7] = sum({value});"),
            3 => format!("@min[{key} & 7] = min({value});"),
            4 => format!("@max = max({value});"),
            5 => format!("@avg[{key} & 7] = avg({value});"),
            6 => format!("@stats = stats({value});"),
            7 => format!("@hist[{key} & 3] = hist({value});"),
            8 => format!("@fine = hist((uint64){value}, 3);"),
            _ => format!("@lhist = lhist({value}, 0, 20, 2);"),
        };
        self.line(&text);
    }

    fn branch(&mut self) {
        let condition = self.condition();
        self.line(&format!("if ({condition}) {{"));
        self.statements();
        if self.random.below(2) == 0 {
            self.line("} else {");
            self.statements();
        }
        self.line("}");
    }

    fn repeat(&mut self) {
        let rounds = 1 + self.random.below(4);
        if self.loops > 1 {
            return;
        }
        self.loops += 1;
        let variable = format!("$i{}", self.out.len());
        match self.random.below(3) {
            0 => self.line(&format!("unroll ({rounds}) {{")),
            1 => self.line(&format!("for {variable} : 0..{rounds} {{")),
            // Verifiers of emulated machines take minutes for these.
            _ if !self.can.open_ranges => self.line(&format!("for {variable} : 1..{rounds} {{")),
            _ => {
                let bound = self.leaf();
                self.line(&format!("for {variable} : 0..(({bound}) & 7) {{"));
            }
        }
        self.statements();
        self.line("}");
        self.loops -= 1;
    }

    /// A loop over a map. The kernel's order is its own, so what is done in it must not depend
    /// on the order.
    fn entries(&mut self) {
        if self.loops > 1 {
            return;
        }
        self.loops += 1;
        let entry = format!("$e{}", self.out.len());
        let map = self.random.pick(&["@keyed", "@keyed", "@text"]);
        // Sums and differences in one loop would depend on the order as well.
        let op = self.random.pick(&["+=", "^="]);
        self.line(&format!("for ({entry} : {map}) {{"));
        if self.random.below(2) == 0 {
            let key = self.random.below(8);
            self.line(&format!("if ({entry}.0 == {key}) {{ continue; }}"));
        }
        for _ in 0..1 + self.random.below(3) {
            let variable = self.random.pick(&NUMBERS);
            let number = match (map, self.random.below(3)) {
                ("@text", _) => {
                    let other = self.random.pick(&STRINGS);
                    format!("(int64)({entry}.1 == {other})")
                }
                (_, 0) => format!("{entry}.0"),
                _ => format!("{entry}.1"),
            };
            match self.random.below(5) {
                0 => self.line(&format!("@scalar0 {op} {number};")),
                1 => self.line(&format!("@seen[{entry}.0] = {number};")),
                2 => {
                    let inner = format!("$f{}", self.out.len());
                    self.line(&format!(
                        "for ({inner} : @keyed) {{ {variable} {op} {number} * {inner}.1; }}"
                    ));
                }
                3 => {
                    let round = format!("$i{}", self.out.len());
                    self.line(&format!(
                        "for {round} : 0..3 {{ {variable} {op} {number} + {round}; }}"
                    ));
                }
                _ => self.line(&format!("{variable} {op} {number};")),
            }
        }
        self.line("}");
        self.line("$a += (int64)len(@keyed);");
        self.loops -= 1;
    }

    fn statements(&mut self) {
        if self.depth > 2 {
            return;
        }
        self.depth += 1;
        for _ in 0..1 + self.random.below(3) {
            self.statement();
        }
        self.depth -= 1;
    }
}
