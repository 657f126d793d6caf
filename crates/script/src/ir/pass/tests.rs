//! What single passes do is in the golden files; here is what they must not do.
