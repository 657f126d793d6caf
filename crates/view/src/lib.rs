//! Rows and maps to everything printed: text, tables and JSON.
