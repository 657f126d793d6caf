//! Logs: the lockless ring of Linux 5.10 and newer.

use super::Machine;
use super::kernel::{SHAPE, Tiny};

/// A record of the ring: its number, its state, its place in the text and where the next begins.
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) state: u64,
    pub(crate) begin: u64,
    pub(crate) next: u64,
    pub(crate) text: &'static str,
}

/// Builds a ring of 8 records and 256 bytes of text.
pub(crate) fn ring(head: u64, tail: u64, records: &[Record]) -> Machine {
    const DATA: u64 = 0xffff_8880_0100_0000;
    let mut tiny = Tiny::new(SHAPE);
    tiny.functions = 60;
    let (prb, rb, descs, infos, text) = (
        DATA,
        DATA + 0x100,
        DATA + 0x1000,
        DATA + 0x2000,
        DATA + 0x3000,
    );
    tiny.write(prb, &rb.to_le_bytes());
    tiny.write(rb, &3u32.to_le_bytes());
    for (i, number) in [descs, infos, head, tail].into_iter().enumerate() {
        tiny.write(rb + 8 + 8 * i as u64, &number.to_le_bytes());
    }
    tiny.write(rb + 0x40, &8u32.to_le_bytes());
    tiny.write(rb + 0x48, &text.to_le_bytes());
    tiny.write(descs, &[0; 8 * 24]);
    tiny.write(infos, &[0; 8 * 32]);
    tiny.write(text, &[0; 256]);
    for record in records {
        let index = record.id % 8;
        for (i, number) in [record.id | record.state << 62, record.begin, record.next]
            .into_iter()
            .enumerate()
        {
            tiny.write(descs + index * 24 + i as u64 * 8, &number.to_le_bytes());
        }
        let info = infos + index * 32;
        tiny.write(info + 8, &(record.id * 1_000_000_000).to_le_bytes());
        tiny.write(info + 16, &(record.text.len() as u16).to_le_bytes());
        // Facility 3, level 6, continued.
        tiny.write(info + 18, &[3, 6 << 5 | 8]);
        tiny.write(info + 20, &0x8000_0002u32.to_le_bytes());
        let wraps = record.begin / 256 != record.next / 256 && record.next % 256 != 0;
        let at = if wraps { 0 } else { record.begin % 256 };
        tiny.write(text + at + 8, record.text.as_bytes());
    }
    tiny.line(format!("SYMBOL(prb)={prb:x}"));
    for (member, offset) in [
        ("printk_ringbuffer.desc_ring", 0),
        ("printk_ringbuffer.text_data_ring", 0x40),
        ("prb_desc_ring.count_bits", 0),
        ("prb_desc_ring.descs", 8),
        ("prb_desc_ring.infos", 16),
        ("prb_desc_ring.head_id", 24),
        ("prb_desc_ring.tail_id", 32),
        ("prb_data_ring.size_bits", 0),
        ("prb_data_ring.data", 8),
        ("prb_desc.state_var", 0),
        ("prb_desc.text_blk_lpos", 8),
        ("prb_data_blk_lpos.begin", 0),
        ("prb_data_blk_lpos.next", 8),
        ("printk_info.ts_nsec", 8),
        ("printk_info.text_len", 16),
        ("printk_info.caller_id", 20),
    ] {
        tiny.line(format!("OFFSET({member})={offset}"));
    }
    tiny.line("SIZE(prb_desc)=24".to_owned());
    tiny.line("SIZE(printk_info)=32".to_owned());
    tiny.finish()
}
