//! A ledger bundle on disk: a zip (`NAME.stint`) or a folder with the same files (LEDGER.md §11).
//!
//! The zip profile is narrow on purpose, since two readers of a loose zip see two different bundles: stored or deflated,
//! no encryption, no data descriptors, no comment, fixed ASCII names, none twice, local and central headers equal, no
//! extra field but zip64's, and every byte up to the directory belongs to exactly one entry. Everything is checked before
//! the first file is opened. Nothing is unpacked: files are read as streams, so memory does not grow with the bundle.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flate2::{Decompress, FlushDecompress, Status};
use stint_audit::bundle::BundleSource;

/// A bundle has a few files and one per receipt and policy file; more is somebody's trick.
const MAX_FILES: u64 = 65_536;
/// The central directory of so many files.
const MAX_DIRECTORY: u64 = 16 * 1024 * 1024;
/// What stands directly in a bundle.
const FILES: [&str; 8] = [
    "README.txt",
    "bodies.tsv",
    "checkpoint",
    "headers.jsonl",
    "manifest.json",
    "openings.tsv",
    "proof.json",
    "verify.html",
];
/// The folders of a bundle.
const FOLDERS: [&str; 4] = ["handover/", "policies/", "receipts/", "trust/"];

/// Opens a bundle, whichever form it has.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is none; else why it cannot be read.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BundleSource>> {
    if fs::metadata(path)?.is_dir() {
        Ok(Box::new(Folder::open(path)?))
    } else {
        Ok(Box::new(Zip::open(path)?))
    }
}

/// Opens a zip that was fetched.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_file(file: File) -> io::Result<Box<dyn BundleSource>> {
    Ok(Box::new(Zip::of(file)?))
}

/// A folder with a bundle's files.
struct Folder {
    root: PathBuf,
    names: BTreeSet<String>,
}

impl Folder {
    fn open(root: &Path) -> io::Result<Self> {
        let mut folder = Self {
            root: root.to_owned(),
            names: BTreeSet::new(),
        };
        folder.list("")?;
        Ok(folder)
    }

    /// Lists what lies below `prefix`; other people's files beside a bundle are none of ours and stay out.
    fn list(&mut self, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(prefix))? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir()
                && FOLDERS
                    .iter()
                    .any(|folder| format!("{name}/").starts_with(folder))
            {
                self.list(&format!("{name}/"))?;
            } else if kind.is_file() && is_ours(&name) {
                self.names.insert(name);
                if self.names.len() as u64 > MAX_FILES {
                    return Err(refused("it has too many files"));
                }
            }
        }
        Ok(())
    }
}

impl BundleSource for Folder {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        if !self.names.contains(name) {
            return Ok(None);
        }
        Ok(Some(Box::new(BufReader::new(File::open(
            self.root.join(name),
        )?))))
    }

    fn names(&self) -> Vec<String> {
        self.names.iter().cloned().collect()
    }
}

/// A zip whose every header has been checked.
struct Zip {
    file: File,
    entries: BTreeMap<String, Entry>,
    /// The first file that did not unpack to what its header says.
    fault: RefCell<Option<String>>,
}

/// Where a file's bytes are. `end` is one past them.
#[derive(Clone, Copy)]
struct Entry {
    deflated: bool,
    start: u64,
    end: u64,
    size: u64,
}

impl BundleSource for Zip {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let section = BufReader::new(Section {
            file: &self.file,
            at: entry.start,
            end: entry.end,
        });
        let bytes: Box<dyn Read> = if entry.deflated {
            Box::new(Inflate::new(section))
        } else {
            Box::new(section)
        };
        Ok(Some(Box::new(BufReader::new(Exactly {
            bytes,
            left: entry.size,
            fault: &self.fault,
        }))))
    }

    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }
}

impl Zip {
    fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    fn of(file: File) -> io::Result<Self> {
        let directory = Directory::find(&file, file.metadata()?.len())?;
        let mut bytes = vec![
            0;
            usize::try_from(directory.size)
                .map_err(|_wide| refused("its directory is too large"))?
        ];
        file.read_exact_at(&mut bytes, directory.at)?;

        let mut fields = Fields(&bytes);
        let mut entries = BTreeMap::new();
        let mut spans = Vec::new();
        for _ in 0..directory.count {
            let header = Header::central(&mut fields)
                .ok_or_else(|| refused("its directory is cut off or foreign"))?;
            let entry = header.check_local(&file)?;
            spans.push((header.at, entry.end));
            if entries.insert(header.name.clone(), entry).is_some() {
                return Err(refused(&format!("`{}` is in it twice", header.name)));
            }
        }
        if !fields.0.is_empty() {
            return Err(refused("its directory holds more than it says"));
        }
        spans.sort_unstable();
        let starts = spans.iter().map(|(start, _)| *start).chain([directory.at]);
        let ends = [0].into_iter().chain(spans.iter().map(|(_, end)| *end));
        for (end, next) in ends.zip(starts) {
            match end.cmp(&next) {
                Ordering::Equal => {}
                Ordering::Greater => return Err(refused("its entries overlap")),
                Ordering::Less => return Err(refused("it has bytes that no entry names")),
            }
        }
        Ok(Self {
            file,
            entries,
            fault: RefCell::default(),
        })
    }
}

/// The central directory: where it is, how long, how many entries.
struct Directory {
    at: u64,
    size: u64,
    count: u64,
}

impl Directory {
    /// Reads the end record (APPNOTE 4.3.16) and, where it says so, the zip64 one (4.3.14). Nothing may follow, and
    /// nothing may lie between directory and end.
    fn find(file: &File, length: u64) -> io::Result<Self> {
        let none = || refused("it is no zip, or it is cut off");
        let end = length.checked_sub(22).ok_or_else(none)?;
        let record = read_at::<22>(file, end)?;
        let (count, size, at) = parse_end(&record).ok_or_else(none)?;
        let narrow = count != u64::from(u16::MAX)
            && size != u64::from(u32::MAX)
            && at != u64::from(u32::MAX);
        let (found, follows) = if narrow {
            (Self { at, size, count }, end)
        } else {
            let locator = read_at::<20>(file, end.checked_sub(20).ok_or_else(none)?)?;
            let at = parse_locator(&locator).ok_or_else(none)?;
            if at.checked_add(56 + 20) != Some(end) {
                return Err(none());
            }
            (parse_end64(&read_at::<56>(file, at)?).ok_or_else(none)?, at)
        };
        if found.count > MAX_FILES || found.size > MAX_DIRECTORY {
            return Err(refused("it has too many files"));
        }
        if found.at.checked_add(found.size) != Some(follows) {
            return Err(none());
        }
        Ok(found)
    }
}

/// Entries, size and offset; one disk, no comment.
fn parse_end(record: &[u8]) -> Option<(u64, u64, u64)> {
    let mut fields = Fields(record);
    fields.signature(0x0605_4b50)?;
    let (disk, directory_disk, here, count) =
        (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
    let (size, at, comment) = (fields.u32()?, fields.u32()?, fields.u16()?);
    let whole = disk == 0 && directory_disk == 0 && here == count && comment == 0;
    whole.then_some((count.into(), size.into(), at.into()))
}

fn parse_locator(record: &[u8]) -> Option<u64> {
    let mut fields = Fields(record);
    fields.signature(0x0706_4b50)?;
    let (disk, at, disks) = (fields.u32()?, fields.u64()?, fields.u32()?);
    (disk == 0 && disks == 1).then_some(at)
}

fn parse_end64(record: &[u8]) -> Option<Directory> {
    let mut fields = Fields(record);
    fields.signature(0x0606_4b50)?;
    let (rest, _versions, disk, directory_disk) =
        (fields.u64()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let (here, count, size, at) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
    let whole = rest == 44 && disk == 0 && directory_disk == 0 && here == count;
    whole.then_some(Directory { at, size, count })
}

/// What both headers of a file must agree on, and where the local one is.
#[derive(PartialEq)]
struct Header {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    name: String,
    at: u64,
}

impl Header {
    /// APPNOTE 4.3.12.
    fn central(fields: &mut Fields<'_>) -> Option<Self> {
        fields.signature(0x0201_4b50)?;
        let (_made_by, _needed) = (fields.u16()?, fields.u16()?);
        let mut header = Self::common(fields)?;
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (disk, _internal, _external) = (fields.u16()?, fields.u16()?, fields.u32()?);
        header.at = fields.u32()?.into();
        header.name = String::from_utf8(fields.take(name.into())?.to_vec()).ok()?;
        let wide = [&mut header.size, &mut header.packed, &mut header.at];
        widen(fields.take(extra.into())?, wide.into_iter())?;
        (comment == 0 && disk == 0).then_some(header)
    }

    /// Flags, method, time, date, CRC and sizes, the same in both headers.
    fn common(fields: &mut Fields<'_>) -> Option<Self> {
        let (flags, method, _time, _date) =
            (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
        let (crc, packed, size) = (fields.u32()?, fields.u32()?.into(), fields.u32()?.into());
        Some(Self {
            flags,
            method,
            crc,
            packed,
            size,
            name: String::new(),
            at: 0,
        })
    }

    /// Reads the local header (APPNOTE 4.3.7), which must say the same, and gives the place of the bytes after it.
    fn check_local(&self, file: &File) -> io::Result<Entry> {
        let named = |why: &str| refused(&format!("`{}` {why}", self.name.escape_default()));
        if !is_ours(&self.name) {
            return Err(named("is no file of a bundle"));
        }
        // Bits 1 and 2 are a deflater's remarks, 11 says that names are UTF-8. Bit 0 is encryption, 3 a descriptor.
        if self.flags & !0b1000_0000_0110 != 0 {
            return Err(named("is encrypted or streamed"));
        }
        let deflated = match self.method {
            0 if self.packed == self.size => false,
            8 => true,
            _ => return Err(named("is packed in a way a bundle never is")),
        };
        let fixed = read_at::<30>(file, self.at)?;
        let (local, name, extra) =
            Self::local(&fixed).ok_or_else(|| named("has no header of its own"))?;
        let mut rest = vec![0; usize::from(name) + usize::from(extra)];
        file.read_exact_at(&mut rest, self.at.saturating_add(30))?;
        let local = local
            .named(&rest, name, self.at)
            .ok_or_else(|| named("has a header that cannot be read"))?;
        if local != *self {
            return Err(named("has two headers that differ"));
        }
        let start = self
            .at
            .saturating_add(30 + u64::from(name) + u64::from(extra));
        Ok(Entry {
            deflated,
            start,
            end: start.saturating_add(self.packed),
            size: self.size,
        })
    }

    fn local(fixed: &[u8]) -> Option<(Self, u16, u16)> {
        let mut fields = Fields(fixed);
        fields.signature(0x0403_4b50)?;
        let _needed = fields.u16()?;
        let header = Self::common(&mut fields)?;
        Some((header, fields.u16()?, fields.u16()?))
    }

    fn named(mut self, rest: &[u8], name: u16, at: u64) -> Option<Self> {
        let mut fields = Fields(rest);
        self.name = String::from_utf8(fields.take(name.into())?.to_vec()).ok()?;
        self.at = at;
        widen(fields.0, [&mut self.size, &mut self.packed].into_iter())?;
        Some(self)
    }
}

/// Replaces the members that did not fit 32 bits by those of the zip64 extra field (APPNOTE 4.5.3), in order. No other
/// extra field may be there: one of them renames the file for readers that know it.
fn widen<'a>(extra: &[u8], members: impl Iterator<Item = &'a mut u64>) -> Option<()> {
    let mut wide = Fields(extra);
    if !extra.is_empty() {
        let (id, length) = (wide.u16()?, wide.u16()?);
        if id != 1 || usize::from(length) != wide.0.len() {
            return None;
        }
    }
    for member in members.filter(|member| **member == u64::from(u32::MAX)) {
        *member = wide.u64()?;
    }
    Some(())
}

/// Little-endian fields from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn signature(&mut self, expected: u32) -> Option<()> {
        (self.u32()? == expected).then_some(())
    }
}

/// A stretch of a file.
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let n = self
            .file
            .read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

/// What deflate packed, to the end of its last block and of its bytes: a reader that stops at less, or goes on, sees
/// another file.
struct Inflate<R> {
    packed: R,
    state: Decompress,
    ended: bool,
}

impl<R: BufRead> Inflate<R> {
    fn new(packed: R) -> Self {
        Self {
            packed,
            state: Decompress::new(false),
            ended: false,
        }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let falsely = || refused("a file in it is packed falsely");
        loop {
            let packed = self.packed.fill_buf()?;
            let over = packed.is_empty();
            if self.ended {
                return if over { Ok(0) } else { Err(falsely()) };
            }
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(packed, buffer, FlushDecompress::None)
                .map_err(|_corrupt| falsely())?;
            let taken = self.state.total_in().saturating_sub(taken);
            let given = self.state.total_out().saturating_sub(given);
            self.packed.consume(usize::try_from(taken).unwrap_or(0));
            self.ended = status == Status::StreamEnd;
            if given > 0 {
                return usize::try_from(given).map_err(io::Error::other);
            }
            if over && !self.ended {
                return Err(falsely());
            }
        }
    }
}

/// As many bytes as the headers promise: fewer and more are both a fault, so a bomb ends where its header said.
struct Exactly<'a, R> {
    bytes: R,
    left: u64,
    fault: &'a RefCell<Option<String>>,
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let fault = |error: io::Error| {
            self.fault.borrow_mut().get_or_insert(error.to_string());
            error
        };
        let n = self.bytes.read(buffer).map_err(fault)? as u64;
        if (n == 0 && self.left > 0) || n > self.left {
            return Err(fault(refused(
                "a file in it is not as long as its header says",
            )));
        }
        self.left = self.left.saturating_sub(n);
        Ok(usize::try_from(n).unwrap_or(usize::MAX))
    }
}

fn read_at<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Whether a bundle has a file of this name: no way out, nothing foreign, nothing a shell or a system reads otherwise.
fn is_ours(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let path = name
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    let known = FILES.contains(&name) || FOLDERS.iter().any(|folder| name.starts_with(folder));
    name.len() <= 255 && name.bytes().all(plain) && path && known
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a bundle: {why}"))
}

#[cfg(test)]
#[path = "bundle/tests.rs"]
mod tests;
