//! BTF read from bytes: an index by name and kind, types decoded on demand, types printed as C.
