//! Where output goes and in which form.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use kscope_rows::{Output, Schema};
use kscope_sys::Interrupts;
use kscope_view::{JsonView, RowJsonView, TableView, TextView};

use crate::console;
use crate::error::Failure;
use crate::output::{create, is_stream};

/// A view with the writer it writes to.
pub(crate) struct Sink {
    view: View,
    out: BufWriter<Target>,
    buffering: Buffering,
    /// Rows that may still be written; what comes after the last is left out.
    rows_left: Option<u64>,
    full: Rc<Cell<bool>>,
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
    /// After each output
    None,
    /// When there is nothing more to read for now
    #[default]
    Line,
    /// When the buffer is full, and at the end
    Full,
}

enum View {
    Text(TextView),
    Json(JsonView),
    Table(TableView),
    RowJson(RowJsonView),
}

/// A file that stops being written to at the second signal: whoever reads it may never go on.
struct Target {
    file: File,
    interrupts: Interrupts,
    /// Whether it has stopped, so that what is buffered is not tried again.
    stopped: bool,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped {
            return Err(io::Error::other("interrupted"));
        }
        let result = self.file.write(bytes);
        let stalled = matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted);
        if stalled && self.interrupts.count() > 1 {
            self.stopped = true;
            return Err(io::Error::other("interrupted"));
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Size in bytes of the output buffer.
const BUFFER: usize = 64 << 10;

impl Sink {
    /// Opens a file, which is none of `inputs`, or standard output. From now on signals are caught.
    pub(crate) fn new(
        form: Form,
        file: Option<&Path>,
        inputs: &[&Path],
        buffering: Buffering,
    ) -> Result<Sink, Failure> {
        let interrupts = Interrupts::install()
            .map_err(|errno| Failure::new(format!("cannot catch signals: {errno}")))?;
        let file = match file.filter(|file| !is_stream(file)) {
            None => console::output().map_err(|error| Failure::of_output(&error))?,
            Some(path) => create(path, inputs)?,
        };
        let view = match form {
            Form::Text => View::Text(TextView::default()),
            Form::BpftraceJson => View::Json(JsonView),
            Form::Table => View::Table(TableView::default()),
            Form::RowJson => View::RowJson(RowJsonView::default()),
        };
        let target = Target {
            file,
            interrupts,
            stopped: false,
        };
        let out = BufWriter::with_capacity(BUFFER, target);
        Ok(Sink {
            view,
            out,
            buffering,
            rows_left: None,
            full: Rc::default(),
        })
    }

    /// Writes so many rows and no more.
    pub(crate) fn limit_rows(&mut self, count: u64) {
        self.rows_left = Some(count);
    }

    /// Writes the header of a table, before its first row is there.
    pub(crate) fn begin(&mut self, schema: &Arc<Schema>) -> io::Result<()> {
        match &mut self.view {
            View::Table(view) => view.begin(schema, &mut self.out),
            View::Text(_) | View::Json(_) | View::RowJson(_) => Ok(()),
        }
    }

    /// Says whether what is written is JSON.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.view, View::Json(_) | View::RowJson(_))
    }

    /// Gives what becomes true when all rows that may be written are.
    pub(crate) fn is_full(&self) -> Rc<Cell<bool>> {
        self.full.clone()
    }

    /// Counts a row; false where it is one too many.
    fn may_write(&mut self, output: &Output) -> bool {
        match (&mut self.rows_left, output) {
            (Some(0), Output::Row { .. }) => false,
            (Some(left), Output::Row { .. }) => {
                *left -= 1;
                self.full.set(*left == 0);
                true
            }
            _ => true,
        }
    }

    /// Gives the signals that came since the sink was made.
    pub(crate) fn interrupts(&self) -> Interrupts {
        self.out.get_ref().interrupts
    }

    /// Hands on all that is buffered.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl View {
    /// Writes an output: data to `out`, what is said of it to `err`.
    fn write(
        &mut self,
        output: &Output,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        match self {
            View::Text(view) => view.write(output, out, err),
            View::Table(view) => view.write(output, out, err),
            _ if matches!(output, Output::Problem(_)) => {
                TextView::default().write(output, out, err)
            }
            View::Json(view) => view.write(output, out),
            // Whoever reads rows has no use for sentences and losses among them.
            View::RowJson(_)
                if matches!(
                    output,
                    Output::Message { .. } | Output::Failure(_) | Output::Lost(_)
                ) =>
            {
                TextView::default().write(output, out, err)
            }
            View::RowJson(view) => view.write(output, out),
        }
    }
}

impl kscope_runtime::Sink for Sink {
    fn output(&mut self, output: Output) -> io::Result<()> {
        if !self.may_write(&output) {
            return Ok(());
        }
        let mut err = console::Errors;
        self.view.write(&output, &mut self.out, &mut err)?;
        match self.buffering {
            Buffering::None => self.out.flush(),
            Buffering::Line | Buffering::Full => Ok(()),
        }
    }

    fn pause(&mut self) -> io::Result<()> {
        match self.buffering {
            Buffering::Full => Ok(()),
            Buffering::None | Buffering::Line => self.out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kscope_rows::{Place, RuntimeFailure};

    use super::*;

    #[test]
    fn losses_are_no_data() {
        let check = |mut view: View, expected: (&str, &str)| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let written = view.write(&Output::Lost(9), &mut out, &mut err);
            written.expect("into memory");
            let text = |bytes| String::from_utf8(bytes).expect("text");
            assert_eq!((&*text(out), &*text(err)), expected);
        };
        let told = ("", "Lost 9 events\n");
        check(View::RowJson(RowJsonView::default()), told);
        check(View::Text(TextView::default()), told);
        check(View::Table(TableView::default()), told);
        // As bpftrace prints it.
        let line = "{\"type\": \"lost_events\", \"count\": 9, \"data\": {\"events\": 9}}\n";
        check(View::Json(JsonView), (line, ""));
    }

    #[test]
    fn what_failed_in_a_script_is_no_row() {
        let failure = || {
            Output::Failure(RuntimeFailure {
                place: Arc::new(Place {
                    file: "a.bt".to_owned(),
                    line: 2,
                    column: 3,
                    text: "a.bt:2:3-4".to_owned(),
                    context: Vec::new(),
                }),
                message: "it failed".to_owned(),
                helper: None,
            })
        };
        let check = |mut view: View, expected: (&str, &str)| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let written = view.write(&failure(), &mut out, &mut err);
            written.expect("into memory");
            let text = |bytes| String::from_utf8(bytes).expect("text");
            assert_eq!((&*text(out), &*text(err)), expected);
        };
        let told = ("", "a.bt:2:3-4: WARNING: it failed\n");
        check(View::RowJson(RowJsonView::default()), told);
        check(View::Table(TableView::default()), told);
        check(View::Text(TextView::default()), told);
        // As bpftrace prints it.
        let line = "{\"type\": \"runtime_error\", \"msg\": \"it failed\", \"filename\": \"a.bt\", \"line\": 2, \"col\": 3}\n";
        check(View::Json(JsonView), (line, ""));
    }
}
