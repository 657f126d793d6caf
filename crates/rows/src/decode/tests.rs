use super::*;
use crate::data_type::StackMode;
use crate::resolve::Unresolved;
use crate::value::Frame;

/// Names every address after itself and knows one user.
struct Names;

impl Resolve for Names {
    fn kernel_stack(&self, id: i64) -> Stack {
        let frame = |n: i64| Frame {
            address: n as u64,
            symbol: Some(Arc::from(format!("k{n}"))),
            offset: 0,
            module: None,
        };
        Stack {
            frames: (0..id).map(frame).collect(),
            ..Stack::default()
        }
    }

    fn user_stack(&self, id: i64, pid: u32, _mode: StackMode) -> Stack {
        let frame = Frame {
            address: u64::from(pid),
            symbol: None,
            offset: 0,
            module: None,
        };
        Stack {
            frames: vec![frame; usize::try_from(id).unwrap_or(0)],
            ..Stack::default()
        }
    }

    fn kernel_symbol(&self, address: u64) -> Option<Arc<str>> {
        (address != 0).then(|| Arc::from(format!("sym_{address}")))
    }

    fn user_symbol(&self, address: u64, pid: u32) -> Option<Arc<str>> {
        Some(Arc::from(format!("usym_{address}_{pid}")))
    }

    fn timestamp(&self, nanoseconds: u64, format: &str) -> String {
        format!("{format}={nanoseconds}")
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        (uid == 0).then(|| "root".to_owned())
    }

    fn truncation_trailer(&self) -> &str {
        "_xxx"
    }
}

fn int(bytes: u8, signed: bool) -> DataType {
    DataType::Int { bytes, signed }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "cases read better without a borrow"
)]
fn check(ty: &DataType, bytes: &[u8], expected: Value) {
    assert_eq!(decode(ty, bytes, &Names), expected, "{ty} from {bytes:?}");
}

#[test]
fn integers() {
    check(&int(1, true), &[0xff], Value::Int(-1));
    check(&int(1, false), &[0xff], Value::Uint(255));
    check(&int(2, true), &(-2i16).to_ne_bytes(), Value::Int(-2));
    check(
        &int(4, true),
        &i32::MIN.to_ne_bytes(),
        Value::Int(i64::from(i32::MIN)),
    );
    check(
        &int(4, false),
        &u32::MAX.to_ne_bytes(),
        Value::Uint(u64::from(u32::MAX)),
    );
    check(&int(8, true), &i64::MIN.to_ne_bytes(), Value::Int(i64::MIN));
    check(
        &int(8, false),
        &u64::MAX.to_ne_bytes(),
        Value::Uint(u64::MAX),
    );
    check(&int(8, false), &[1, 2, 3], Value::None);
    check(&int(0, false), &[1], Value::None);
    check(&int(9, true), &[0; 16], Value::None);
    check(&DataType::Bool, &[1], Value::Bool(true));
    check(&DataType::Bool, &[0], Value::Bool(false));
    check(
        &DataType::Pointer,
        &0xffff_8880u64.to_ne_bytes(),
        Value::Pointer(0xffff_8880),
    );
}

#[test]
fn enumerators() {
    let variants = Arc::from(vec![(-1, "LOW".to_owned()), (2, "TWO".to_owned())]);
    let ty = DataType::Enum {
        bytes: 4,
        signed: true,
        name: "e".into(),
        variants,
    };
    let named = |value, name: Option<&str>| Value::Enum {
        value,
        name: name.map(Arc::from),
    };
    check(&ty, &(-1i32).to_ne_bytes(), named(-1, Some("LOW")));
    check(&ty, &2i32.to_ne_bytes(), named(2, Some("TWO")));
    check(&ty, &3i32.to_ne_bytes(), named(3, None));
}

#[test]
fn strings_and_buffers() {
    let text = |s: &str| Value::Str(s.as_bytes().to_vec());
    check(&DataType::Str { capacity: 8 }, b"abc\0defg", text("abc"));
    check(&DataType::Str { capacity: 4 }, b"abcd", text("abcd_xxx"));
    check(&DataType::Str { capacity: 4 }, b"abcdef", text("abcd_xxx"));
    check(&DataType::Str { capacity: 8 }, b"abc", text("abc"));
    check(&DataType::Str { capacity: 8 }, b"", text(""));
    check(&DataType::Str { capacity: 0 }, b"", text(""));
    let mut bytes = 2u32.to_ne_bytes().to_vec();
    bytes.extend([7, 8, 9]);
    check(
        &DataType::Buffer { capacity: 3 },
        &bytes,
        Value::Buffer(vec![7, 8]),
    );
    bytes[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    check(
        &DataType::Buffer { capacity: 2 },
        &bytes,
        Value::Buffer(vec![7, 8]),
    );
    check(
        &DataType::Buffer { capacity: 100 },
        &bytes,
        Value::Buffer(vec![7, 8, 9]),
    );
    check(&DataType::Buffer { capacity: 2 }, &[1, 0], Value::None);
}

#[test]
fn arguments_of_programs() {
    // Of all bytes, so many were read.
    let split = |all: u32, here: u32, data: &[u8], parts: &[&str]| {
        let bytes = [&all.to_ne_bytes(), &here.to_ne_bytes(), data].concat();
        let parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let ty = DataType::Arguments { capacity: 8 };
        check(&ty, &bytes, Value::Arguments(parts));
    };
    split(5, 5, b"a\0b c\0", &["a", "b c"]);
    split(5, 5, b"a\0b c\0xyz", &["a", "b c"]);
    split(4, 4, b"a\0\0\0", &["a", "", ""]);
    split(0, 0, b"", &[]);
    // A process may take the last NUL away.
    split(3, 3, b"a\0b", &["a", "b"]);
    // Cut inside of an argument, after one, in the middle of nothing.
    split(9, 8, b"a\0bcdefg", &["a", "bcdefg_xxx"]);
    split(9, 8, b"a\0bcdef\0", &["a", "bcdef", "_xxx"]);
    split(9, 0, b"\0\0\0\0\0\0\0\0", &["_xxx"]);
    // More than there is room for, or than came.
    split(20, 20, b"a\0bcdefghijk", &["a", "bcdefg_xxx"]);
    split(8, 8, b"a\0b", &["a", "b_xxx"]);
    let ty = DataType::Arguments { capacity: 8 };
    check(&ty, &[1, 0, 0, 0, 0], Value::None);
}

#[test]
fn composites() {
    let parts = vec![
        ("0".to_owned(), int(1, false)),
        ("1".to_owned(), int(4, true)),
        ("2".to_owned(), DataType::Str { capacity: 3 }),
    ];
    let (fields, size) = DataType::lay_out(parts);
    assert_eq!(size, 12);
    let mut bytes = vec![5, 0, 0, 0];
    bytes.extend((-6i32).to_ne_bytes());
    bytes.extend(*b"hi\0\0");
    let values = vec![Value::Uint(5), Value::Int(-6), Value::Str(b"hi".to_vec())];
    check(
        &DataType::Tuple(Arc::clone(&fields)),
        &bytes,
        Value::Tuple(values.clone()),
    );
    let named = ["0", "1", "2"]
        .map(Arc::<str>::from)
        .into_iter()
        .zip(values)
        .collect();
    let record = DataType::Record {
        name: "".into(),
        fields,
        size,
    };
    check(&record, &bytes, Value::Record(named));
    let array = DataType::Array {
        element: Arc::new(int(2, false)),
        len: 3,
    };
    let bytes: Vec<u8> = [1u16, 2, 3, 4]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect();
    let three = Value::Array(vec![Value::Uint(1), Value::Uint(2), Value::Uint(3)]);
    check(&array, &bytes, three);
    check(&array, &bytes[..3], Value::Array(vec![Value::Uint(1)]));
    let hollow = DataType::Array {
        element: Arc::new(DataType::None),
        len: u32::MAX,
    };
    check(&hollow, &bytes, Value::Array(vec![]));
}

#[test]
fn bit_fields() {
    let cases = [
        (int(4, false), 0, 3, 0b1010_1101u32, Value::Uint(5)),
        (int(4, false), 3, 2, 0b1010_1101, Value::Uint(1)),
        (int(4, true), 5, 3, 0b1010_1101, Value::Int(-3)),
        (int(4, true), 6, 2, 0b0110_1101, Value::Int(1)),
        (
            int(4, false),
            0,
            32,
            u32::MAX,
            Value::Uint(u64::from(u32::MAX)),
        ),
        (DataType::Bool, 2, 1, 0b100, Value::Bool(true)),
        (DataType::Pointer, 0, 1, 1, Value::None),
        (int(4, false), 99, 1, 1, Value::None),
    ];
    for (ty, shift, width, unit, expected) in cases {
        let bits = Some(Bits { shift, width });
        let field = Field {
            name: "f".to_owned(),
            offset: 0,
            ty,
            bits,
        };
        let found = decode_field(&field, &unit.to_le_bytes(), &Names);
        if cfg!(target_endian = "little") {
            assert_eq!(found, expected, "{field:?}");
        }
    }
}

#[test]
fn names() {
    let text = |s: &str| Value::Text(s.to_owned());
    let with_pid = |address: u64, pid: u32| {
        let mut bytes = address.to_ne_bytes().to_vec();
        bytes.extend(pid.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    check(&DataType::KernelSymbol, &9u64.to_ne_bytes(), text("sym_9"));
    check(&DataType::KernelSymbol, &0u64.to_ne_bytes(), text("0"));
    check(&DataType::UserSymbol, &with_pid(9, 7), text("usym_9_7"));
    check(&DataType::UserSymbol, &9u64.to_ne_bytes(), Value::None);
    check(&DataType::UserName, &0u32.to_ne_bytes(), text("root"));
    check(&DataType::UserName, &5u32.to_ne_bytes(), text(""));
    let time = DataType::Timestamp {
        format: "%H".into(),
    };
    check(&time, &77u64.to_ne_bytes(), text("%H=77"));
    let stack = DataType::KernelStack {
        mode: StackMode::Perf,
        limit: 2,
    };
    let Value::Stack(found) = decode(&stack, &3i64.to_ne_bytes(), &Names) else {
        panic!("no stack");
    };
    assert_eq!(
        (found.frames.len(), found.mode, found.lost),
        (2, StackMode::Perf, None)
    );
    let lost = Stack {
        lost: Some(17),
        mode: StackMode::Perf,
        ..Stack::default()
    };
    check(&stack, &(-17i64).to_ne_bytes(), Value::Stack(lost));
    // A sample of a process has no kernel stack, and nothing is lost then.
    let none = Stack {
        lost: None,
        mode: StackMode::Perf,
        ..Stack::default()
    };
    check(&stack, &(-14i64).to_ne_bytes(), Value::Stack(none));
    let stack = DataType::UserStack {
        mode: StackMode::Raw,
        limit: 9,
    };
    let Value::Stack(found) = decode(&stack, &with_pid(1, 42), &Names) else {
        panic!("no stack");
    };
    assert_eq!(
        (found.frames[0].address, found.mode, found.user),
        (42, StackMode::Raw, true)
    );
}

/// A small generator of pseudo-random numbers, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u32 {
        u32::try_from(self.next() % n).unwrap_or(0)
    }

    fn ty(&mut self, depth: u32) -> DataType {
        let kinds = if depth == 0 { 12 } else { 15 };
        let width = [0, 1, 2, 4, 8, 3, 9, 255][self.below(8) as usize];
        match self.below(kinds) {
            0 => DataType::None,
            1 => int(width, true),
            2 => int(width, false),
            3 => DataType::Bool,
            4 => DataType::Pointer,
            5 => DataType::Str {
                capacity: self.size(),
            },
            6 => DataType::Buffer {
                capacity: self.size(),
            },
            7 => DataType::KernelStack {
                mode: StackMode::Raw,
                limit: self.size(),
            },
            8 => DataType::UserStack {
                mode: StackMode::Raw,
                limit: self.size(),
            },
            9 => DataType::UserSymbol,
            10 => DataType::UserName,
            11 => DataType::Enum {
                bytes: width,
                signed: self.below(2) == 0,
                name: "e".into(),
                variants: Arc::from(vec![]),
            },
            12 => DataType::Tuple(self.fields(depth)),
            13 => DataType::Record {
                name: "".into(),
                fields: self.fields(depth),
                size: self.size(),
            },
            _ => DataType::Array {
                element: Arc::new(self.ty(depth - 1)),
                len: self.size(),
            },
        }
    }

    fn fields(&mut self, depth: u32) -> Arc<[Field]> {
        (0..self.below(4))
            .map(|index| Field {
                name: index.to_string(),
                offset: self.size(),
                ty: self.ty(depth - 1),
                bits: (self.below(4) == 0).then(|| Bits {
                    shift: self.next().to_ne_bytes()[0],
                    width: self.next().to_ne_bytes()[0],
                }),
            })
            .collect()
    }

    fn size(&mut self) -> u32 {
        match self.below(8) {
            0 => u32::MAX - self.below(3),
            1 => 0,
            _ => self.below(24),
        }
    }
}

#[test]
fn any_bytes_and_types_decode() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut some = 0;
    for _ in 0..20_000 {
        let ty = random.ty(3);
        let bytes: Vec<u8> = (0..random.below(48))
            .map(|_| random.next().to_ne_bytes()[0])
            .collect();
        let value = decode(&ty, &bytes, &Unresolved);
        some += usize::from(value != Value::None);
        assert!(ty.align() > 0, "{ty}");
    }
    assert!(some > 5_000, "only {some} values were decoded");
}

#[test]
fn a_layout_past_the_largest_size_ends_there() {
    let large = DataType::Str { capacity: u32::MAX };
    let parts = vec![("a".to_owned(), large), ("b".to_owned(), DataType::Pointer)];
    let (fields, size) = DataType::lay_out(parts);
    assert_eq!((fields[1].offset, size), (u32::MAX, u32::MAX));
}
