//! `perigee admin diagnostics export`: what a node tells of itself, as one archive.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use perigee_api::client::Admin;
use perigee_api::v1::DiagnosticsFile;
use serde_json::json;

use crate::admin_command::{answer, failure};
use crate::cli::AnswerForm;
use crate::failure::Failure;

/// Bytes of a block of the archive: heads are one, contents begin on one.
const BLOCK: usize = 512;
/// Bytes of a name.
const NAME_MAX: usize = 99;

/// Asks for the files and writes them.
pub(crate) async fn export(admin: &mut Admin, file: &Path, form: AnswerForm) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::Refused(format!("{}: {error}", file.display()));
    // Before the node is asked; and nobody else's file: statements that run are in it.
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(refused)?;
    let written = match admin.diagnostics().await.map_err(failure) {
        Ok(files) => archive(out, &files).map(|()| files).map_err(refused),
        Err(error) => Err(error),
    };
    let files = match written {
        Ok(files) => files,
        Err(error) => {
            // What is half written helps nobody.
            drop(std::fs::remove_file(file));
            return Err(error);
        }
    };
    let shown = |file: &DiagnosticsFile| json!({"name": file.name, "bytes": file.content.len()});
    let json = || json!({"file": file.display().to_string(), "files": files.iter().map(shown).collect::<Vec<_>>()});
    let text = || {
        println!("{}: {} files", file.display(), files.len());
        for DiagnosticsFile { name, content } in &files {
            println!("  {name}: {} bytes", content.len());
        }
    };
    answer(form, json, text);
    Ok(())
}

/// Writes files as `tar` has them, packed.
fn archive(out: impl Write, files: &[DiagnosticsFile]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut out = GzEncoder::new(out, Compression::default());
    for file in files {
        out.write_all(&head(&file.name, file.content.len(), now)?)?;
        out.write_all(&file.content)?;
        out.write_all(&[0; BLOCK][..file.content.len().next_multiple_of(BLOCK) - file.content.len()])?;
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.finish()?.flush()
}

/// The head of a file, as POSIX has it (ustar): numbers are octal.
fn head(name: &str, bytes: usize, modified: u64) -> io::Result<[u8; BLOCK]> {
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(io::Error::other(format!("the node has named a file {name:?}")));
    }
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, format!("{modified:011o}\0").as_bytes());
    // The sum counts its own place as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn file(name: &str, content: &[u8]) -> DiagnosticsFile {
        DiagnosticsFile { name: name.to_owned(), content: content.to_vec() }
    }

    #[test]
    fn an_archive_is_blocks() {
        let mut packed = Vec::new();
        archive(&mut packed, &[file("a.txt", b"hello"), file("b", &[7; BLOCK]), file("c", b"")]).unwrap();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(tar.len(), (2 + 2 + 1 + 2) * BLOCK);
        assert_eq!((&tar[..6], &tar[124..136]), (b"a.txt\0" as &[u8], b"00000000005\0" as &[u8]));
        assert_eq!((&tar[257..265], &tar[BLOCK..BLOCK + 6]), (b"ustar\x0000" as &[u8], b"hello\0" as &[u8]));
        let told = std::str::from_utf8(&tar[148..154]).unwrap();
        let sum: u32 = tar[..BLOCK]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(u32::from_str_radix(told, 8).unwrap(), sum);
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for name in ["", "/etc/passwd", "../x", "a/../../x", &"x".repeat(100)] {
            assert!(archive(Vec::new(), &[file(name, b"")]).is_err(), "{name}");
        }
    }
}
