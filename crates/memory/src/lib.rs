//! What can be read of a kernel: addresses, gaps, and the kernel's symbol table.
