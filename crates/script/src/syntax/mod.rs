//! Source text to a tree. The parser never fails: it always gives a tree and a list of findings.

pub mod tree;
