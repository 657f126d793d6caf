//! Rows as values of the types of whoever takes them.

use std::borrow::Cow;
use std::fmt;

use crate::schema::{Row, Schema};
use crate::value::{Stack, Value};

/// A type that a row becomes; [`row!`](crate::row!) makes structures such.
pub trait FromRow: Sized {
    /// Makes it of a row.
    ///
    /// # Errors
    ///
    /// Where the row has no such column, or one of another type.
    fn from_row(schema: &Schema, row: &Row) -> Result<Self, RowError>;
}

/// A type that the value of a column becomes.
pub trait FromValue: Sized {
    /// What it takes, for messages.
    const WHAT: &'static str;

    /// Makes it of a value; none where the value is of another kind, or too large.
    fn from_value(value: &Value) -> Option<Self>;
}

/// Why a row is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowError {
    /// The row has no such column.
    NoColumn {
        /// The column.
        column: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The column's value is of another type, or too large for the one that was asked for.
    WrongType {
        /// The column.
        column: String,
        /// Its type in the script.
        is: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowError::NoColumn { column, known } => {
                write!(
                    f,
                    "the row has no column {column}; it has {}",
                    known.join(", ")
                )
            }
            RowError::WrongType { column, is, wanted } => {
                write!(
                    f,
                    "the column {column} is of type {is}, and cannot be {wanted}"
                )
            }
        }
    }
}

impl std::error::Error for RowError {}

/// Gives the value of a column as a type of one's own.
///
/// # Errors
///
/// Where there is no such column, or it is of another type.
pub fn column<T: FromValue>(schema: &Schema, row: &Row, name: &str) -> Result<T, RowError> {
    let name = name.trim_start_matches("r#");
    let found = schema.columns.iter().zip(&row.values);
    let found = found.into_iter().find(|(column, _)| column.name == name);
    let Some((column, value)) = found else {
        let known = schema.columns.iter().map(|column| column.name.clone());
        return Err(RowError::NoColumn {
            column: name.to_owned(),
            known: known.collect(),
        });
    };
    T::from_value(value).ok_or_else(|| RowError::WrongType {
        column: name.to_owned(),
        is: column.ty.to_string(),
        wanted: T::WHAT,
    })
}

/// Declares a structure that rows become: each field takes the column of its name.
///
/// # Examples
///
/// ```
/// kscope_rows::row! {
///     /// A file that was opened.
///     #[derive(Debug)]
///     pub struct Open {
///         pub pid: u32,
///         pub path: String,
///     }
/// }
/// ```
#[macro_export]
macro_rules! row {
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visible:vis $field:ident: $ty:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $visible struct $name {
            $($(#[$field_meta])* $field_visible $field: $ty,)*
        }

        impl $crate::FromRow for $name {
            fn from_row(
                schema: &$crate::Schema,
                row: &$crate::Row,
            ) -> ::core::result::Result<Self, $crate::RowError> {
                ::core::result::Result::Ok($name {
                    $($field: $crate::column(schema, row, ::core::stringify!($field))?,)*
                })
            }
        }
    };
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(impl FromValue for $number {
            const WHAT: &'static str = stringify!($number);

            fn from_value(value: &Value) -> Option<$number> {
                match value {
                    Value::Int(number) | Value::Enum { value: number, .. } => {
                        $number::try_from(*number).ok()
                    }
                    Value::Uint(number) | Value::Pointer(number) => {
                        $number::try_from(*number).ok()
                    }
                    Value::Bool(truth) => Some($number::from(*truth)),
                    _ => None,
                }
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl FromValue for bool {
    const WHAT: &'static str = "bool";

    fn from_value(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(truth) => Some(*truth),
            Value::Int(number) => Some(*number != 0),
            Value::Uint(number) => Some(*number != 0),
            _ => None,
        }
    }
}

impl FromValue for String {
    const WHAT: &'static str = "String";

    fn from_value(value: &Value) -> Option<String> {
        match value {
            Value::Str(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Text(text) => Some(text.clone()),
            Value::Enum {
                name: Some(name), ..
            } => Some(name.to_string()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const WHAT: &'static str = "Vec<u8>";

    fn from_value(value: &Value) -> Option<Vec<u8>> {
        match value {
            Value::Str(bytes) | Value::Buffer(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<String> {
    const WHAT: &'static str = "Vec<String>";

    fn from_value(value: &Value) -> Option<Vec<String>> {
        match value {
            Value::Arguments(parts) => {
                let parts = parts.iter().map(|part| String::from_utf8_lossy(part));
                Some(parts.map(Cow::into_owned).collect())
            }
            Value::Array(values) => values.iter().map(String::from_value).collect(),
            _ => None,
        }
    }
}

impl FromValue for Stack {
    const WHAT: &'static str = "Stack";

    fn from_value(value: &Value) -> Option<Stack> {
        match value {
            Value::Stack(stack) => Some(stack.clone()),
            _ => None,
        }
    }
}

impl FromValue for Value {
    const WHAT: &'static str = "Value";

    fn from_value(value: &Value) -> Option<Value> {
        Some(value.clone())
    }
}

/// No value is `None`.
impl<T: FromValue> FromValue for Option<T> {
    const WHAT: &'static str = T::WHAT;

    fn from_value(value: &Value) -> Option<Option<T>> {
        match value {
            Value::None => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::DataType;

    crate::row! {
        #[derive(Debug, PartialEq)]
        struct Sample {
            pid: u16,
            r#type: String,
            error: Option<i32>,
        }
    }

    fn sample(values: Vec<Value>) -> Result<Sample, RowError> {
        let int = DataType::Int {
            bytes: 8,
            signed: true,
        };
        let names = ["pid", "type", "error"];
        let parts = names.map(|name| (name.to_owned(), int.clone())).to_vec();
        let (fields, size) = DataType::lay_out(parts);
        let record = DataType::Record {
            name: "".into(),
            fields,
            size,
        };
        let schema = Schema::of_record("test", 1, &record).expect("a record");
        Sample::from_row(&schema, &Row { values })
    }

    #[test]
    fn rows_become_structures() {
        let made = sample(vec![
            Value::Int(7),
            Value::Str(b"file".to_vec()),
            Value::None,
        ]);
        let expected = Sample {
            pid: 7,
            r#type: "file".to_owned(),
            error: None,
        };
        assert_eq!(made, Ok(expected));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |values: Vec<Value>, expected: &str| {
            let error = sample(values).expect_err("an error");
            assert_eq!(error.to_string(), expected);
        };
        check(
            vec![Value::Int(70_000)],
            "the column pid is of type int64, and cannot be u16",
        );
        check(
            vec![Value::Int(7), Value::Int(1)],
            "the column type is of type int64, and cannot be String",
        );
        check(
            vec![Value::Int(7), Value::Text(String::new())],
            "the row has no column error; it has pid, type, error",
        );
    }

    #[test]
    fn values_become_what_is_asked_for() {
        fn check<T: FromValue + PartialEq + fmt::Debug>(value: &Value, expected: &Option<T>) {
            assert_eq!(T::from_value(value), *expected, "{value:?}");
        }
        let named = Value::Enum {
            value: 1,
            name: Some("DROP".into()),
        };
        check(&named, &Some("DROP".to_owned()));
        check(&named, &Some(1u8));
        check(&Value::Int(-1), &Some(-1i8));
        check::<u64>(&Value::Int(-1), &None);
        check(&Value::Uint(u64::MAX), &Some(u64::MAX));
        check::<i64>(&Value::Uint(u64::MAX), &None);
        check(&Value::Bool(true), &Some(1u32));
        check(&Value::Uint(2), &Some(true));
        check(&Value::Buffer(vec![1]), &Some(vec![1u8]));
        let words = vec!["sh".to_owned(), String::new()];
        check(
            &Value::Arguments(vec![b"sh".to_vec(), Vec::new()]),
            &Some(words.clone()),
        );
        let texts = words.iter().map(|word| Value::Str(word.clone().into()));
        check(&Value::Array(texts.collect()), &Some(words));
        check(&Value::Pointer(5), &Some(5usize));
        check::<Option<u8>>(&Value::Text("x".to_owned()), &None);
        check(&Value::Uint(3), &Some(Value::Uint(3)));
    }
}
