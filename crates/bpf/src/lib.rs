//! The eBPF library's kernel half: maps, programs, links, rings, features and the verifier's log.
