//! The language: source text to a kernel-independent Spec and a Plan for reading its results.
