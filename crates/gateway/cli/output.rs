//! Printing for people and programs. The only place that writes to standard output and error
//! for commands; a closed pipe ends quietly.

use std::io::{self, Write};

/// A line on standard output.
pub(crate) fn line(text: &str) {
    ignore_broken_pipe(writeln!(io::stdout().lock(), "{text}"));
}

/// Text on standard output, as it is.
pub(crate) fn text(text: &str) {
    ignore_broken_pipe(io::stdout().lock().write_all(text.as_bytes()));
}

/// A line on standard error.
pub(crate) fn error(text: &str) {
    ignore_broken_pipe(writeln!(io::stderr().lock(), "{text}"));
}

/// Whoever reads our output may stop reading; that is no failure of the command.
pub(crate) fn ignore_broken_pipe(result: io::Result<()>) {
    drop(result);
}

/// Columns, padded to the widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(head.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// A time as RFC 3339, or `-`.
pub(crate) fn time(time: Option<vestibule_core::time::UnixMillis>) -> String {
    time.and_then(|time| jiff::Timestamp::from_millisecond(time.0).ok())
        .map_or_else(|| "-".to_owned(), |time| time.to_string())
}
