//! Rows and what their columns mean.

use crate::data_type::DataType;
use crate::decode::decode_field;
use crate::resolve::Resolve;
use crate::value::Value;

/// The columns of rows that a tool prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of what prints the rows: that of the tool, or `script`.
    pub name: String,
    /// Grows when a column changes its meaning or goes away.
    pub version: u32,
    /// The columns in order.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as in the script's record.
    pub name: String,
    /// Type of its values.
    pub ty: DataType,
    /// Unit of its values, `ns` for example.
    pub unit: Option<String>,
    /// One sentence on what it is; may be empty.
    pub doc: String,
}

/// A row: one value for each column of its schema.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row {
    /// The values.
    pub values: Vec<Value>,
}

/// Endings of column names, and names without their `_`, that tell the unit.
const UNITS: [(&str, &str); 10] = [
    ("_ns", "ns"),
    ("_us", "us"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_bytes", "bytes"),
    ("_kb", "KiB"),
    ("_mb", "MiB"),
    ("_pages", "pages"),
    ("_hz", "Hz"),
    ("_pct", "%"),
];

impl Schema {
    /// Makes the schema of a record; none for another type.
    ///
    /// A column's unit follows from the ending of its name (`lat_us`).
    #[must_use]
    pub fn of_record(name: &str, version: u32, ty: &DataType) -> Option<Schema> {
        let DataType::Record { fields, .. } = ty else {
            return None;
        };
        let columns = fields.iter().map(|field| Column {
            name: field.name.clone(),
            ty: field.ty.clone(),
            unit: Schema::unit_of(&field.name).map(str::to_owned),
            doc: String::new(),
        });
        Some(Schema {
            name: name.to_owned(),
            version,
            columns: columns.collect(),
        })
    }

    /// Gives the unit that the name of a column tells: `lat_us`, `us`.
    #[must_use]
    pub fn unit_of(column: &str) -> Option<&'static str> {
        let tells =
            |ending: &str| column.ends_with(ending) || ending.strip_prefix('_') == Some(column);
        let (_, unit) = UNITS.iter().find(|(ending, _)| tells(ending))?;
        Some(unit)
    }

    /// Gives a column its sentence, and its unit where one is given.
    #[must_use]
    pub fn describe(mut self, column: &str, doc: &str, unit: Option<&str>) -> Schema {
        for found in self.columns.iter_mut().filter(|found| found.name == column) {
            doc.clone_into(&mut found.doc);
            if let Some(unit) = unit {
                found.unit = Some(unit.to_owned());
            }
        }
        self
    }
}

impl Row {
    /// Decodes the fields of a record or a tuple; none for another type. Cheaper than
    /// [`decode`](crate::decode), as no names are made.
    #[must_use]
    pub fn decode(ty: &DataType, bytes: &[u8], resolve: &dyn Resolve) -> Option<Row> {
        match ty {
            DataType::Record { fields, .. } | DataType::Tuple(fields) => {
                let values = fields
                    .iter()
                    .map(|field| decode_field(field, bytes, resolve));
                Some(Row {
                    values: values.collect(),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Unresolved;

    #[test]
    fn rows_are_decoded_without_names() {
        let byte = DataType::Int {
            bytes: 1,
            signed: false,
        };
        let (fields, size) = DataType::lay_out(vec![
            ("a".to_owned(), byte.clone()),
            (
                "b".to_owned(),
                DataType::Int {
                    bytes: 2,
                    signed: true,
                },
            ),
        ]);
        let record = DataType::Record {
            name: "".into(),
            fields,
            size,
        };
        let mut bytes = vec![7, 0];
        bytes.extend((-2i16).to_ne_bytes());
        let row = Row::decode(&record, &bytes, &Unresolved);
        assert_eq!(
            row,
            Some(Row {
                values: vec![Value::Uint(7), Value::Int(-2)]
            })
        );
        let short = Row::decode(&record, &bytes[..2], &Unresolved);
        assert_eq!(
            short,
            Some(Row {
                values: vec![Value::Uint(7), Value::None]
            })
        );
        assert_eq!(Row::decode(&byte, &bytes, &Unresolved), None);
    }

    #[test]
    fn columns_come_from_the_record() {
        let int = DataType::Int {
            bytes: 8,
            signed: false,
        };
        let names = ["pid", "lat_us", "status", "size_bytes"];
        let parts = names.map(|name| (name.to_owned(), int.clone())).to_vec();
        let (fields, size) = DataType::lay_out(parts);
        let record = DataType::Record {
            name: "".into(),
            fields,
            size,
        };
        let schema = Schema::of_record("t", 2, &record)
            .expect("a record")
            .describe("pid", "The process.", None)
            .describe("status", "How full.", Some("%"));
        let found: Vec<String> = schema
            .columns
            .iter()
            .map(|c| format!("{} {} {:?} {}", c.name, c.ty, c.unit.as_deref(), c.doc))
            .collect();
        let expected = [
            "pid uint64 None The process.",
            "lat_us uint64 Some(\"us\") ",
            "status uint64 Some(\"%\") How full.",
            "size_bytes uint64 Some(\"bytes\") ",
        ];
        assert_eq!(found, expected);
        assert_eq!(Schema::of_record("t", 1, &int), None);
    }
}
