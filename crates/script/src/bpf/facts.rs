//! What is known of values: an upper bound as an unsigned number, and trailing zero bits.

use crate::ir::{BinOp, Function, Op, Value};

/// Facts about one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    /// Largest value, unsigned.
    pub(super) max: u64,
    /// Number of low bits that are zero.
    pub(super) zeros: u32,
}

impl Fact {
    /// Says whether the value as a signed number is never negative.
    pub(super) fn is_natural(self) -> bool {
        self.max <= i64::MAX as u64
    }
}

const UNKNOWN: Fact = Fact {
    max: u64::MAX,
    zeros: 0,
};

/// Finds the facts of all values, visiting blocks in this order (definitions before uses).
pub(super) fn find(function: &Function, order: &[usize]) -> Vec<Fact> {
    let mut facts = vec![UNKNOWN; function.values.len()];
    let mut consts = vec![None; function.values.len()];
    for block in order {
        for inst in &function.blocks[*block].insts {
            if let Some(result) = inst.result {
                if let Op::Const(c) = inst.op {
                    consts[result.index()] = Some(c as u64);
                }
                facts[result.index()] = fact(&inst.op, &facts, &consts);
            }
        }
    }
    facts
}

fn fact(op: &Op, facts: &[Fact], consts: &[Option<u64>]) -> Fact {
    let get = |v: &Value| facts[v.index()];
    let below = |bytes: u8| {
        if bytes >= 8 {
            u64::MAX
        } else {
            (1 << (8 * bytes)) - 1
        }
    };
    match op {
        Op::Const(c) => Fact {
            max: *c as u64,
            zeros: c.trailing_zeros(),
        },
        Op::Compare(..) => Fact { max: 1, zeros: 0 },
        Op::Extend {
            bytes,
            signed,
            value,
        } => {
            let of = get(value);
            let limit = if *signed {
                below(*bytes) >> 1
            } else {
                below(*bytes)
            };
            let max = match (signed, of.max <= limit) {
                (_, true) => of.max,
                (false, false) => limit,
                (true, false) => u64::MAX,
            };
            Fact {
                max,
                zeros: of.zeros,
            }
        }
        Op::ByteSwap { bytes, .. }
        | Op::Load {
            bytes,
            signed: false,
            ..
        } => Fact {
            max: below(*bytes),
            zeros: 0,
        },
        Op::Binary(op, a, b) => binary(*op, get(a), get(b), consts[b.index()]),
        _ => UNKNOWN,
    }
}

fn binary(op: BinOp, a: Fact, b: Fact, right: Option<u64>) -> Fact {
    // The smallest number of the form 2^n - 1 that is not below.
    let wide = |max: u64| u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
    let shift = right.map(|c| (c & 63) as u32);
    match op {
        BinOp::Add => {
            let max = a.max.saturating_add(b.max);
            Fact {
                max,
                zeros: a.zeros.min(b.zeros),
            }
        }
        BinOp::Sub => Fact {
            max: u64::MAX,
            zeros: a.zeros.min(b.zeros),
        },
        BinOp::Mul => Fact {
            max: a.max.saturating_mul(b.max),
            zeros: (a.zeros + b.zeros).min(64),
        },
        BinOp::UDiv => Fact {
            max: a.max / right.unwrap_or(1).max(1),
            zeros: 0,
        },
        BinOp::URem => match right {
            Some(c) if c > 0 => Fact {
                max: a.max.min(c - 1),
                zeros: 0,
            },
            _ => Fact {
                max: a.max,
                zeros: 0,
            },
        },
        BinOp::And => Fact {
            max: a.max.min(b.max),
            zeros: a.zeros.max(b.zeros),
        },
        BinOp::Or | BinOp::Xor => Fact {
            max: wide(a.max) | wide(b.max),
            zeros: a.zeros.min(b.zeros),
        },
        BinOp::Shl => match shift {
            Some(n) if a.max.leading_zeros() >= n => Fact {
                max: a.max << n,
                zeros: (a.zeros + n).min(64),
            },
            Some(n) => Fact {
                max: u64::MAX,
                zeros: (a.zeros + n).min(64),
            },
            None => Fact {
                max: u64::MAX,
                zeros: a.zeros,
            },
        },
        BinOp::LShr => Fact {
            max: a.max >> shift.unwrap_or(0),
            zeros: 0,
        },
        BinOp::AShr if a.is_natural() => Fact {
            max: a.max >> shift.unwrap_or(0),
            zeros: 0,
        },
        BinOp::AShr => UNKNOWN,
        BinOp::SDiv if a.is_natural() && b.is_natural() => Fact {
            max: a.max,
            zeros: 0,
        },
        BinOp::SRem if a.is_natural() => Fact {
            max: a.max,
            zeros: 0,
        },
        BinOp::SDiv | BinOp::SRem => UNKNOWN,
    }
}
