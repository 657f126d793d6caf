//! Bytes to values, and values to text.

use std::sync::Arc;

use kscope_rows::{
    Bits, DataType, Field, Format, MapValueType, Output, StackMode, Unresolved, decode,
    decode_field, decode_map_value,
};

/// Deepest type that is made up.
const DEPTH: u32 = 4;

/// Takes numbers from the front of the input; zeros where it has ended.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u32 {
        u32::from(self.byte()) | u32::from(self.byte()) << 8
    }

    /// Small numbers mostly, and some that are too large.
    fn length(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX - self.word(),
            254 => self.word(),
            small => u32::from(small % 33),
        }
    }

    fn text(&mut self) -> String {
        let len = usize::from(self.byte() % 32).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn width(&mut self) -> u8 {
        let width = self.byte();
        // Widths that no compiler makes as well.
        if width > 250 { width } else { 1 << (width % 4) }
    }

    fn data_type(&mut self, depth: u32) -> DataType {
        let mode = [StackMode::Bpftrace, StackMode::Perf, StackMode::Raw];
        match self.byte() % 18 {
            0 => DataType::None,
            1 => DataType::Bool,
            2 => DataType::Pointer,
            3 => DataType::KernelSymbol,
            4 => DataType::UserSymbol,
            5 => DataType::UserName,
            6 => DataType::Str {
                capacity: self.length(),
            },
            7 => DataType::Buffer {
                capacity: self.length(),
            },
            8 => DataType::Timestamp {
                format: self.text().into(),
            },
            9 => DataType::KernelStack {
                mode: mode[usize::from(self.byte() % 3)],
                limit: self.length(),
            },
            10 => DataType::UserStack {
                mode: mode[usize::from(self.byte() % 3)],
                limit: self.length(),
            },
            11 => DataType::Enum {
                bytes: self.width(),
                signed: self.byte() % 2 == 0,
                name: "color".into(),
                variants: [(0, "RED".to_owned()), (i64::from(self.byte()), self.text())].into(),
            },
            12 | 13 if depth < DEPTH => DataType::Tuple(self.fields(depth)),
            14 if depth < DEPTH => DataType::Record {
                name: self.text().into(),
                fields: self.fields(depth),
                size: self.length(),
            },
            15 if depth < DEPTH => DataType::Array {
                element: Arc::new(self.data_type(depth + 1)),
                len: self.length(),
            },
            16 => DataType::Arguments {
                capacity: self.length(),
            },
            _ => DataType::Int {
                bytes: self.width(),
                signed: self.byte() % 2 == 0,
            },
        }
    }

    fn fields(&mut self, depth: u32) -> Arc<[Field]> {
        let count = self.byte() % 5;
        (0..count).map(|_| self.field(depth + 1)).collect()
    }

    fn field(&mut self, depth: u32) -> Field {
        Field {
            name: self.text(),
            offset: self.length(),
            ty: self.data_type(depth),
            bits: (self.byte() % 4 == 0).then(|| Bits {
                shift: self.byte(),
                width: self.byte(),
            }),
        }
    }

    fn map_value(&mut self, ty: DataType) -> MapValueType {
        let signed = self.byte() % 2 == 0;
        match self.byte() % 6 {
            0 => MapValueType::Count,
            1 => MapValueType::Sum { signed },
            2 => MapValueType::Min { signed },
            3 => MapValueType::Avg { signed },
            4 => MapValueType::Stats { signed },
            _ => MapValueType::Plain(ty),
        }
    }
}

/// Makes up a type and a format from the front of the bytes, decodes the rest and prints it in
/// every way there is.
pub fn event(bytes: &[u8]) -> bool {
    let mut source = Source(bytes);
    let ty = source.data_type(0);
    let field = source.field(DEPTH - 1);
    let map = source.map_value(ty.clone());
    let format = Format::parse(&source.text());
    let data = source.0;
    let values = vec![
        decode(&ty, data, &Unresolved),
        decode_field(&field, data, &Unresolved),
        decode_map_value(&map, data, &Unresolved),
    ];
    let text: Vec<Vec<u8>> = values.iter().map(kscope_view::value_text).collect();
    for value in &values {
        let mut json = Vec::new();
        let output = Output::Value(value.clone());
        let mut view = kscope_view::JsonView;
        view.write(&output, &mut json).expect("memory takes all");
        assert!(std::str::from_utf8(&json).is_ok(), "JSON is text: {json:?}");
    }
    if let Ok(format) = format {
        let _ = format.check(&[ty, field.ty]);
        let _ = kscope_view::render(&format, &values);
    }
    text.iter().any(|text| !text.is_empty())
}
