//! Where output goes and in which form.

use std::fs::File;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

use kscope_rows::Output;
use kscope_view::{JsonView, RowJsonView, TableView, TextView};

use crate::error::Failure;

/// A view with the writer it writes to.
pub(crate) struct Sink {
    view: View,
    out: Writer,
    buffering: Buffering,
}

/// Which form the output takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As bpftrace prints.
    Text,
    /// bpftrace's JSON.
    BpftraceJson,
    /// Rows under a header.
    Table,
    /// An object a row.
    RowJson,
}

/// When output is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Buffering {
    /// After each output.
    None,
    /// When there is nothing more to read for now.
    #[default]
    Line,
    /// When the buffer is full, and at the end.
    Full,
}

enum View {
    Text(TextView),
    Json(JsonView),
    Table(TableView),
    RowJson(RowJsonView),
}

enum Writer {
    Stdout(BufWriter<StdoutLock<'static>>),
    File(BufWriter<File>),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Stdout(out) => out.write(bytes),
            Writer::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Stdout(out) => out.flush(),
            Writer::File(out) => out.flush(),
        }
    }
}

/// Size in bytes of the output buffer.
const BUFFER: usize = 64 << 10;

impl Sink {
    pub(crate) fn new(
        form: Form,
        file: Option<&Path>,
        buffering: Buffering,
    ) -> Result<Sink, Failure> {
        let out = match file {
            None => Writer::Stdout(BufWriter::with_capacity(BUFFER, io::stdout().lock())),
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    Failure::new(format!("cannot write to {}: {error}", path.display()))
                })?;
                Writer::File(BufWriter::with_capacity(BUFFER, file))
            }
        };
        let view = match form {
            Form::Text => View::Text(TextView::default()),
            Form::BpftraceJson => View::Json(JsonView::default()),
            Form::Table => View::Table(TableView::default()),
            Form::RowJson => View::RowJson(RowJsonView::default()),
        };
        Ok(Sink {
            view,
            out,
            buffering,
        })
    }

    /// Hands on all that is buffered.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl kscope_runtime::Sink for Sink {
    fn output(&mut self, output: Output) -> io::Result<()> {
        let mut err = io::stderr().lock();
        match &mut self.view {
            View::Text(view) => view.write(&output, &mut self.out, &mut err)?,
            View::Table(view) => view.write(&output, &mut self.out, &mut err)?,
            View::Json(view) => view.write(&output, &mut self.out)?,
            View::RowJson(view) => view.write(&output, &mut self.out)?,
        }
        match self.buffering {
            Buffering::None => self.out.flush(),
            Buffering::Line | Buffering::Full => Ok(()),
        }
    }

    fn pause(&mut self) -> io::Result<()> {
        match self.buffering {
            Buffering::Full => Ok(()),
            _ => self.out.flush(),
        }
    }
}
