//! A file for log lines, which begins anew when it is full: `FILE`, before it `FILE.1`, before that `FILE.2`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The file.
    pub path: PathBuf,
    /// The size from which on another one is begun.
    pub bytes_max: u64,
    /// How many full ones are kept.
    pub kept: u32,
}

/// The file that is open. A line is one write, so none is in two files.
#[derive(Debug)]
pub(crate) struct Rotating {
    place: LogFile,
    file: File,
    bytes: u64,
}

impl Rotating {
    /// Goes on where the file ends.
    pub(crate) fn open(place: LogFile) -> io::Result<Self> {
        let file = open(&place.path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { place, file, bytes })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let full = |number: u32| {
            let mut name = self.place.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let rename = |from: &Path, to: &Path| match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for number in (1..self.place.kept).rev() {
            rename(&full(number), &full(number + 1))?;
        }
        if self.place.kept > 0 {
            rename(&self.place.path, &full(1))?;
        } else {
            self.file.set_len(0)?;
        }
        self.file = open(&self.place.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Where that fails the lines go on into the file that there is: they are worth more than its size.
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.place.bytes_max && self.begin_anew().is_err() {
            self.bytes = 0;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_kept_so_far() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let open = |kept| Rotating::open(LogFile { path: path.clone(), bytes_max: 10, kept }).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let mut file = open(2);
        for line in ["first\n", "second\n", "third\n", "abc\n", "a line that is longer\n", "last\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let found = [read("x.log.2"), read("x.log.1"), read("x.log")];
        assert_eq!(found, ["third\nabc\n", "a line that is longer\n", "last\n"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        // It goes on where it was.
        drop(file);
        open(2).write_all(b"x\n").unwrap();
        assert_eq!(read("x.log"), "last\nx\n");
        open(0).write_all(b"none is kept\n").unwrap();
        assert_eq!((read("x.log").as_str(), read("x.log.1").as_str()), ("none is kept\n", "a line that is longer\n"));
    }
}
