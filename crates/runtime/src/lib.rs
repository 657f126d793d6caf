//! Runs a Spec and its Plan on a kernel and gives typed rows.
