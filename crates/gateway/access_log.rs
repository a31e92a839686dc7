//! Where access lines go: standard output, or a file that log rotation may move away at any
//! time.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use vestibule_core::settings::telemetry::Telemetry;

/// The configured sink.
pub(crate) fn open(telemetry: &Telemetry) -> anyhow::Result<Box<dyn Write + Send>> {
    match &telemetry.access_log_file {
        None => Ok(Box::new(io::stdout())),
        Some(path) => {
            let file = append(path)
                .with_context(|| format!("cannot write the access log {}", path.display()))?;
            Ok(Box::new(RotatedFile { path: path.clone(), file }))
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}

/// Appends to whatever file has the name at the moment of writing.
struct RotatedFile {
    path: PathBuf,
    file: File,
}

impl RotatedFile {
    fn is_current(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(open)) => named.ino() == open.ino() && named.dev() == open.dev(),
            _ => false,
        }
    }
}

impl Write for RotatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_current() {
            self.file = append(&self.path)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
