//! The tree to a checked program: names, types, layouts.

mod layout;
