//! Saves a dump, filtered and packed with zstd:
//! `cargo run --release --example save -- SOURCE OUTPUT [LEVEL [THREADS]]`.

use std::error::Error;
use std::path::Path;

use kscope_dump::{
    Compression, Dump, DumpFormat, DumpLevel, DumpOptions, Kernel, SaveOptions, SaveOutput,
    Unfinished, save,
};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [source, output, rest @ ..] = words.as_slice() else {
        return Err("SOURCE OUTPUT [LEVEL [THREADS]]".into());
    };
    let level = rest.first().map_or(Ok(31), |level| level.parse())?;
    let threads = rest.get(1).map_or(Ok(1), |threads| threads.parse())?;
    let kernel = Kernel::open(Dump::open_with(&[source], DumpOptions::ONCE)?)?;
    let file = Unfinished::create(Path::new(output), true)?;
    let options = SaveOptions {
        level: DumpLevel::new(level).ok_or("levels are 0 to 31")?,
        compression: Compression::Zstd,
        format: DumpFormat::KdumpCompressed,
        threads,
    };
    let summary = save(&kernel, SaveOutput::File(file.file()), &options, &())?;
    file.finish()?;
    for (kind, count) in summary.left_out.iter().filter(|(_, count)| *count > 0) {
        println!("{count} {} pages left out", kind.name());
    }
    println!(
        "{} pages, {} of them zeros, {} lost: {} bytes",
        summary.chosen, summary.zero, summary.lost, summary.written
    );
    Ok(())
}
