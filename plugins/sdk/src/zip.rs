//! Files in a ZIP archive, within bounds, and an archive written.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveWriter};

use crate::{Rejection, rejection};

/// Bytes of an archive. It is held in memory: its directory stands at its end.
pub const ARCHIVE_BYTES_MAX: usize = 16 << 20;
/// Files in an archive.
pub const FILES_MAX: usize = 1000;
/// Bytes of all files of an archive, unpacked.
pub const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// Whether a file that begins so is an archive.
pub fn is_archive(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// All of an archive.
///
/// # Errors
/// `zip-limit` beyond [`ARCHIVE_BYTES_MAX`].
pub fn read_whole(mut read: impl FnMut(u32) -> Vec<u8>) -> Result<Vec<u8>, Rejection> {
    let mut archive = Vec::new();
    loop {
        let chunk = read(64 * 1024);
        if chunk.is_empty() {
            return Ok(archive);
        }
        if archive.len() + chunk.len() > ARCHIVE_BYTES_MAX {
            return Err(rejection("zip-limit", format!("the archive has more than {ARCHIVE_BYTES_MAX} bytes"), ""));
        }
        archive.extend_from_slice(&chunk);
    }
}

/// A file of an archive, being unpacked.
pub struct File<'a> {
    /// As the archive has it, folders included.
    pub name: String,
    reader: Box<dyn Read + 'a>,
    left: u64,
    problem: Option<Rejection>,
}

impl File<'_> {
    /// The next bytes, at most `max`; none at the end, and none after a failure, which [`File::check`] tells.
    pub fn read(&mut self, max: u32) -> Vec<u8> {
        let mut chunk = vec![0; max as usize];
        let read = if self.problem.is_some() { Ok(0) } else { self.reader.read(&mut chunk) };
        chunk.truncate(*read.as_ref().unwrap_or(&0));
        if let Err(error) = read {
            self.problem = Some(damaged(&self.name, &error));
        }
        self.left = match self.left.checked_sub(chunk.len() as u64) {
            Some(left) => left,
            None => {
                let reason = format!("the files of the archive have more than {UNPACKED_BYTES_MAX} bytes");
                self.problem = Some(rejection("zip-limit", reason, place(&self.name)));
                chunk.clear();
                0
            }
        };
        chunk
    }

    /// What stopped [`File::read`] before the end.
    ///
    /// # Errors
    /// `bad-zip`, `zip-limit` with the file's name.
    pub fn check(&mut self) -> Result<(), Rejection> {
        self.problem.take().map_or(Ok(()), Err)
    }
}

/// Calls `each` with the files of an archive in their order; folders are left out.
///
/// # Errors
/// `bad-zip` for what is no archive, or packed or encrypted in another way than "stored" and "deflated"; `zip-limit`; what
/// `each` gives.
pub fn each_file(
    archive: &[u8],
    mut each: impl FnMut(&mut File<'_>) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    let zip = ZipArchive::from_slice(archive).map_err(|error| damaged("", &error))?;
    let mut left = UNPACKED_BYTES_MAX;
    let mut entries = zip.entries();
    let mut files = 0_usize;
    while let Some(entry) = entries.next_entry().map_err(|error| damaged("", &error))? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if entry.is_dir() {
            continue;
        }
        files += 1;
        if files > FILES_MAX {
            return Err(rejection("zip-limit", format!("the archive has more than {FILES_MAX} files"), ""));
        }
        let packed = zip.get_entry(entry.wayfinder()).map_err(|error| damaged(&name, &error))?;
        let reader: Box<dyn Read + '_> = match entry.compression_method() {
            _ if entry.flags().is_encrypted() => {
                return Err(rejection("bad-zip", "the archive is encrypted", place(&name)));
            }
            CompressionMethod::STORE => Box::new(packed.verifying_reader(packed.data())),
            CompressionMethod::DEFLATE => Box::new(packed.verifying_reader(DeflateDecoder::new(packed.data()))),
            other => {
                let reason = format!("packed by method {other}, not stored or deflated");
                return Err(rejection("bad-zip", reason, place(&name)));
            }
        };
        let mut file = File { name, reader, left, problem: None };
        each(&mut file)?;
        file.check()?;
        left = file.left;
    }
    Ok(())
}

/// Writes an archive of files, given by name and content, in their order.
///
/// # Errors
/// Never where `write` takes everything; the reason otherwise.
pub fn write_archive<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    write: impl FnMut(&[u8]),
) -> Result<(), String> {
    let mut archive = ZipArchiveWriter::new(Sink(write));
    for (name, content) in files {
        let failed = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let file = archive.new_file(name).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) = file.start().map_err(|error| failed(&error))?;
        let mut packer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
        packer.write_all(content).map_err(|error| failed(&error))?;
        let (packer, descriptor) = packer.finish().map_err(|error| failed(&error))?;
        packer.finish().map_err(|error| failed(&error))?;
        entry.finish(descriptor).map_err(|error| failed(&error))?;
    }
    archive.finish().map(drop).map_err(|error| error.to_string())
}

struct Sink<W>(W);

impl<W: FnMut(&[u8])> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn damaged(name: &str, error: &dyn std::fmt::Display) -> Rejection {
    let reason: String = error.to_string().chars().take(200).collect();
    rejection("bad-zip", format!("the archive is damaged: {reason}"), place(name))
}

fn place(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    if name.is_empty() { name } else { format!("file {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        write_archive(files.iter().copied(), |bytes| archive.extend_from_slice(bytes)).unwrap();
        archive
    }

    fn unpacked(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Rejection> {
        let mut files = Vec::new();
        each_file(archive, |file| {
            let mut content = Vec::new();
            loop {
                let chunk = file.read(1000);
                if chunk.is_empty() {
                    break;
                }
                content.extend_from_slice(&chunk);
            }
            file.check()?;
            files.push((file.name.clone(), content));
            Ok(())
        })?;
        Ok(files)
    }

    #[test]
    fn packed_and_unpacked() {
        let long = vec![b'x'; 10_000];
        let archive = packed(&[("a.xml", b"<a/>"), ("b/c.xml", &long), ("empty", b"")]);
        assert!(is_archive(&archive) && archive.len() < 1000);
        let files = unpacked(&archive).unwrap();
        assert_eq!(files.iter().map(|file| file.0.as_str()).collect::<Vec<_>>(), ["a.xml", "b/c.xml", "empty"]);
        assert_eq!(files[1].1, long);
    }

    #[test]
    fn damage_is_seen() {
        let archive = packed(&[("a.xml", b"<a>some text that is packed, packed, packed</a>")]);
        for end in 0..archive.len() {
            assert_eq!(unpacked(&archive[..end]).unwrap_err().code, "bad-zip", "{end}");
        }
        let mut random = 0x9E37_79B9_u32;
        for _ in 0..20_000 {
            let mut bytes = archive.clone();
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let at = random as usize % bytes.len();
            bytes[at] = (random >> 16) as u8;
            if let Ok(files) = unpacked(&bytes) {
                assert!(files.iter().all(|file| file.1.len() <= 47));
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = vec![0; 90 << 20];
        let archive = packed(&[("a", &bomb), ("b", &bomb), ("c", &bomb)]);
        let mut read = 0_usize;
        let result = each_file(&archive, |file| {
            loop {
                match file.read(1 << 16).len() {
                    0 => return Ok(()),
                    bytes => read += bytes,
                }
            }
        });
        let rejection = result.unwrap_err();
        assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), ("zip-limit", Some("file c")));
        assert!(read as u64 <= UNPACKED_BYTES_MAX);
        assert_eq!(read_whole(|max| vec![0; max as usize]).unwrap_err().code, "zip-limit");
    }
}
