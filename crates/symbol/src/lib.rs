//! Addresses to names, for the kernel and for user space.
