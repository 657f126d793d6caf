//! Format strings of `printf` and its kin: parsed, and checked against the types of arguments.
//!
//! The grammar is bpftrace 0.27's, with flags in any order. What 0.27 reads but ignores or
//! garbles (precision, the flag space, zeros before a sign) means here what it means in C.
//! Rendering belongs to views.

use std::fmt;

use crate::data_type::DataType;

/// Largest width and precision accepted.
pub const MAX_WIDTH: u32 = 65_535;

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Format {
    /// Text and conversions in order.
    pub pieces: Vec<Piece>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text printed as it is; `%%` is already one `%`.
    Text(String),
    /// A conversion of one argument.
    Conversion(Conversion),
}

/// A conversion such as `%-5d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Where its `%` stands, in bytes from the start of the format string.
    pub at: usize,
    /// Bytes it takes in the format string.
    pub len: usize,
    /// What it prints.
    pub kind: ConversionKind,
    /// Flags.
    pub flags: Flags,
    /// Least number of characters; 0 for none.
    pub width: u32,
    /// Least number of digits, or most bytes of a string.
    pub precision: Option<u32>,
    /// Size of the integer.
    pub length: Length,
}

/// What a conversion prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionKind {
    /// `%d`, `%i`.
    Signed,
    /// `%u`.
    Unsigned,
    /// `%o`.
    Octal,
    /// `%x`.
    Hex,
    /// `%X`.
    UpperHex,
    /// `%c`: one byte.
    Char,
    /// `%s`: any value as `print` shows it.
    Text,
    /// `%p`.
    Pointer,
    /// `%r`: a buffer, bytes that are not printable ASCII as `\x00`.
    Buffer,
    /// `%rx`: a buffer, each byte as `\x00`.
    EscapedBuffer,
    /// `%rh`: a buffer, each byte as two digits with spaces between.
    HexBuffer,
    /// `%gr`: the flags of an allocation of the kernel by their names.
    AllocationFlags,
}

impl ConversionKind {
    /// Gives the letters that stand for it.
    #[must_use]
    pub fn letters(self) -> &'static str {
        match self {
            ConversionKind::Signed => "d",
            ConversionKind::Unsigned => "u",
            ConversionKind::Octal => "o",
            ConversionKind::Hex => "x",
            ConversionKind::UpperHex => "X",
            ConversionKind::Char => "c",
            ConversionKind::Text => "s",
            ConversionKind::Pointer => "p",
            ConversionKind::Buffer => "r",
            ConversionKind::EscapedBuffer => "rx",
            ConversionKind::HexBuffer => "rh",
            ConversionKind::AllocationFlags => "gr",
        }
    }
}

/// Flags of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags {
    /// `-`: padded on the right.
    pub left: bool,
    /// `+`: a sign before positive numbers too.
    pub plus: bool,
    /// A space before positive numbers.
    pub space: bool,
    /// `#`: `0x` or `0` before the digits.
    pub alternate: bool,
    /// `0`: padded with zeros.
    pub zero: bool,
}

/// Size that an integer argument is cut to before it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Length {
    /// None: 32 bits.
    #[default]
    Int,
    /// `hh`: 8 bits.
    Char,
    /// `h`: 16 bits.
    Short,
    /// `l`, `ll`, `j`, `z`, `t`: 64 bits.
    Long,
}

/// A format string that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Where the conversion's `%` stands, in bytes from the start.
    pub at: usize,
    /// Bytes the conversion takes.
    pub len: usize,
    /// What is wrong.
    pub kind: FormatErrorKind,
}

/// What is wrong with a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatErrorKind {
    /// A conversion that is known but not supported, such as `%f`.
    Unsupported {
        /// Its letters.
        letters: &'static str,
    },
    /// A width or precision above [`MAX_WIDTH`].
    TooWide,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FormatErrorKind::Unsupported { letters } => {
                write!(f, "unsupported format specifier: {letters}")
            }
            FormatErrorKind::TooWide => {
                write!(
                    f,
                    "width or precision of a format specifier is above {MAX_WIDTH}"
                )
            }
        }
    }
}

impl std::error::Error for FormatError {}

/// A disagreement between a format string and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatProblem {
    /// Fewer arguments than conversions, or more.
    Count {
        /// Arguments given.
        supplied: usize,
        /// Conversions.
        expected: usize,
    },
    /// An argument without a value.
    NoValue {
        /// The conversion.
        conversion: Conversion,
        /// Index of the argument, from 0.
        argument: usize,
    },
    /// An argument of a type that the conversion cannot print.
    WrongType {
        /// The conversion.
        conversion: Conversion,
        /// Index of the argument, from 0.
        argument: usize,
        /// Name of the argument's type.
        ty: String,
    },
}

impl fmt::Display for FormatProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatProblem::Count { supplied, expected } => {
                let what = if supplied < expected {
                    "not enough"
                } else {
                    "too many"
                };
                write!(
                    f,
                    "{what} arguments for format string ({supplied} supplied, {expected} expected)"
                )
            }
            FormatProblem::NoValue { conversion, .. } => write!(
                f,
                "unable to print none type for specifier: {}",
                conversion.kind.letters()
            ),
            FormatProblem::WrongType { conversion, ty, .. } => write!(
                f,
                "unsupported format specifier for type '{ty}': {}",
                conversion.kind.letters()
            ),
        }
    }
}

impl Format {
    /// Parses a format string.
    ///
    /// A `%` that starts no conversion is text, as in bpftrace. A `*` is read and ignored.
    ///
    /// # Errors
    /// Fails at the first conversion that is not supported or too wide.
    pub fn parse(text: &str) -> Result<Format, FormatError> {
        let mut format = Format::default();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            let at = text.len() - rest.len() + percent;
            plain.push_str(&rest[..percent]);
            let tail = &rest[percent..];
            match conversion(tail.as_bytes(), at)? {
                Some(Token::Percent(len)) => {
                    plain.push('%');
                    rest = &tail[len..];
                }
                Some(Token::Conversion(conversion)) => {
                    if !plain.is_empty() {
                        format.pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    rest = &tail[conversion.len..];
                    format.pieces.push(Piece::Conversion(conversion));
                }
                None => {
                    plain.push('%');
                    rest = &tail[1..];
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            format.pieces.push(Piece::Text(plain));
        }
        Ok(format)
    }

    /// Goes through the conversions in order.
    pub fn conversions(&self) -> impl Iterator<Item = &Conversion> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Conversion(conversion) => Some(conversion),
            Piece::Text(_) => None,
        })
    }

    /// Lists what keeps values of these types from being printed with this format.
    #[must_use]
    pub fn check(&self, arguments: &[DataType]) -> Vec<FormatProblem> {
        let mut problems = Vec::new();
        let expected = self.conversions().count();
        if arguments.len() != expected {
            problems.push(FormatProblem::Count {
                supplied: arguments.len(),
                expected,
            });
        }
        for (argument, (conversion, ty)) in self.conversions().zip(arguments).enumerate() {
            let conversion = *conversion;
            if *ty == DataType::None {
                problems.push(FormatProblem::NoValue {
                    conversion,
                    argument,
                });
            } else if !conversion.kind.accepts(ty) {
                let ty = ty.to_string();
                problems.push(FormatProblem::WrongType {
                    conversion,
                    argument,
                    ty,
                });
            }
        }
        problems
    }
}

impl ConversionKind {
    /// Says whether a value of the type can be printed.
    #[must_use]
    pub fn accepts(self, ty: &DataType) -> bool {
        match self {
            ConversionKind::Text => *ty != DataType::None,
            ConversionKind::Buffer | ConversionKind::EscapedBuffer | ConversionKind::HexBuffer => {
                matches!(ty, DataType::Buffer { .. })
            }
            _ => matches!(
                ty,
                DataType::Int { .. } | DataType::Bool | DataType::Enum { .. } | DataType::Pointer
            ),
        }
    }
}

/// What a `%` starts.
enum Token {
    /// A literal `%` written with this many bytes.
    Percent(usize),
    Conversion(Conversion),
}

/// Reads what the `%` at the start of `tail` begins; none when it is only text.
fn conversion(tail: &[u8], at: usize) -> Result<Option<Token>, FormatError> {
    let mut cursor = Cursor { tail, pos: 1 };
    let flags = cursor.flags();
    let Some(width) = cursor.number() else {
        return Ok(None);
    };
    let precision = if cursor.eat(b'.') {
        match cursor.number() {
            // Without digits it is no conversion for bpftrace.
            None | Some(Number::Absent) => return Ok(None),
            Some(number) => Some(number),
        }
    } else {
        None
    };
    let length = cursor.length();
    let Some(letter) = cursor.next() else {
        return Ok(None);
    };
    let unsupported = |letters| Err(FormatErrorKind::Unsupported { letters });
    let kind = match letter {
        b'%' => return Ok(Some(Token::Percent(cursor.pos))),
        b'd' | b'i' => Ok(ConversionKind::Signed),
        b'u' => Ok(ConversionKind::Unsigned),
        b'o' => Ok(ConversionKind::Octal),
        b'x' => Ok(ConversionKind::Hex),
        b'X' => Ok(ConversionKind::UpperHex),
        b'c' => Ok(ConversionKind::Char),
        b's' => Ok(ConversionKind::Text),
        b'p' => Ok(ConversionKind::Pointer),
        b'r' if cursor.eat(b'x') => Ok(ConversionKind::EscapedBuffer),
        b'r' if cursor.eat(b'h') => Ok(ConversionKind::HexBuffer),
        b'r' => Ok(ConversionKind::Buffer),
        b'g' if cursor.eat(b'r') => Ok(ConversionKind::AllocationFlags),
        b'e' => unsupported("e"),
        b'E' => unsupported("E"),
        b'f' => unsupported("f"),
        b'F' => unsupported("F"),
        b'g' => unsupported("g"),
        b'G' => unsupported("G"),
        b'a' => unsupported("a"),
        b'A' => unsupported("A"),
        b'n' => unsupported("n"),
        _ => return Ok(None),
    };
    let len = cursor.pos;
    let fail = |kind| FormatError { at, len, kind };
    let kind = kind.map_err(fail)?;
    let width = width.value().map_err(fail)?.unwrap_or(0);
    let precision = match precision {
        Some(number) => number.value().map_err(fail)?,
        None => None,
    };
    let conversion = Conversion {
        at,
        len,
        kind,
        flags,
        width,
        precision,
        length,
    };
    Ok(Some(Token::Conversion(conversion)))
}

/// A width or precision as written.
#[derive(Clone, Copy)]
enum Number {
    Absent,
    Star,
    Value(u32),
    TooLarge,
}

impl Number {
    fn value(self) -> Result<Option<u32>, FormatErrorKind> {
        match self {
            Number::Absent | Number::Star => Ok(None),
            Number::Value(value) => Ok(Some(value)),
            Number::TooLarge => Err(FormatErrorKind::TooWide),
        }
    }
}

struct Cursor<'a> {
    tail: &'a [u8],
    pos: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.tail.get(self.pos).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.pos += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.peek() {
                Some(b'-') => flags.left = true,
                Some(b'+') => flags.plus = true,
                Some(b' ') => flags.space = true,
                Some(b'#') => flags.alternate = true,
                Some(b'0') => flags.zero = true,
                _ => return flags,
            }
            self.pos += 1;
        }
    }

    /// Reads digits or a star; none at the end of the text.
    fn number(&mut self) -> Option<Number> {
        if self.eat(b'*') {
            return Some(Number::Star);
        }
        let mut number = Number::Absent;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            self.pos += 1;
            let digit = u32::from(digit - b'0');
            number = match number {
                Number::Absent | Number::Star => Number::Value(digit),
                Number::Value(value) if value * 10 + digit <= MAX_WIDTH => {
                    Number::Value(value * 10 + digit)
                }
                Number::Value(_) | Number::TooLarge => Number::TooLarge,
            };
        }
        self.peek().map(|_| number)
    }

    fn length(&mut self) -> Length {
        let start = self.pos;
        while matches!(self.peek(), Some(b'h' | b'l' | b'L' | b'j' | b'z' | b't')) {
            self.pos += 1;
        }
        match self.tail.get(start..self.pos) {
            Some(b"hh") => Length::Char,
            Some(b"h") => Length::Short,
            Some(b"l" | b"ll" | b"j" | b"z" | b"t") => Length::Long,
            _ => Length::Int,
        }
    }
}

#[cfg(test)]
mod tests;
