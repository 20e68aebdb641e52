//! A folder whose owner may be hostile. Everything in it is done by its handle and one name at a time: no link is followed,
//! nothing is waited for, nothing but a plain file is read, and nothing is written over. So whatever the owner puts there,
//! and whenever, nothing outside the folder is read, written or renamed.

pub mod holdup;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The file by whose lock a folder belongs to one process.
const LOCK: &str = ".busbar.lock";
const LINK: &str = "it is a symbolic link, which is not followed";
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// An open folder.
pub struct Folder(OwnedFd);

/// Which file it is, and how it stood: another one of its name, or a change of it, differs in something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look {
    /// Seconds and nanoseconds of its time, which its owner may set. First, because the oldest file is taken first.
    modified: (i64, i64),
    /// The same of its last change of any kind, which nobody can set.
    changed: (i64, i64),
    size: i64,
    inode: (u64, u64),
}

impl Look {
    fn of(stat: &Stat) -> Result<Self> {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink > 1 => "it has a second name elsewhere (a hard link)",
            FileType::RegularFile => {
                return Ok(Self {
                    modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
                    changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
                    size: stat.st_size,
                    inode: (stat.st_dev, stat.st_ino),
                });
            }
            FileType::Symlink => LINK,
            FileType::Directory => "it is a folder",
            _ => "it is no file",
        };
        Err(Error::other(what))
    }

    /// Whether it is the same file with the same content: a renaming changes only the time of its change.
    fn is_same_file(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }
}

/// A file that is read while its owner may still write to it.
pub struct Standing {
    file: File,
    look: Look,
}

impl Standing {
    pub fn bytes(&self) -> u64 {
        self.look.size.unsigned_abs()
    }

    /// What was there when it was looked at, and no more: one that grows without end comes to an end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reader(&self) -> Result<impl Read + Send + use<>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file.take(self.bytes()))
    }

    /// # Errors
    /// When it is not what was looked at any more.
    pub fn still(&self) -> Result<()> {
        if Look::of(&fs::fstat(&self.file)?)? == self.look { Ok(()) } else { Err(changed()) }
    }
}

impl Folder {
    /// Opens the folder that the configuration names; a link there is its operator's.
    ///
    /// # Errors
    /// When it cannot be opened; so for all of these.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// A folder in it, made where it is missing.
    pub fn below(&self, name: &str) -> Result<Self> {
        let open = || fs::openat(&self.0, name, OFlags::RDONLY | OFlags::DIRECTORY | ALWAYS, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => {
                fs::mkdirat(&self.0, name, Mode::from_bits_truncate(0o777))?;
                open()
            }
            other => other,
        };
        opened.map(Self).map_err(|e| match e {
            Errno::LOOP | Errno::NOTDIR => Error::other("it is no folder"),
            other => other.into(),
        })
    }

    /// The names in it.
    pub fn names(&self) -> Result<impl Iterator<Item = OsString> + use<>> {
        let entries = Dir::read_from(&self.0)?;
        Ok(entries.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_os_string()))
    }

    pub fn has(&self, name: &OsStr) -> Result<bool> {
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// `None` for what is itself a folder. Anything else that is no plain file is an error.
    pub fn look(&self, name: &OsStr) -> Result<Option<Look>> {
        let stat = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(None);
        }
        Look::of(&stat).map(Some)
    }

    /// Opens the very file that was looked at.
    pub fn read(&self, name: &OsStr, look: Look) -> Result<Standing> {
        // By way of a link nothing is opened, and a pipe without a writer does not hold the hub up.
        let file = fs::openat(&self.0, name, OFlags::RDONLY | ALWAYS, Mode::empty());
        let file = file.map_err(|e| if e == Errno::LOOP { Error::other(LINK) } else { e.into() })?;
        let standing = Standing { file: file.into(), look };
        standing.still()?;
        Ok(standing)
    }

    /// A new file.
    ///
    /// # Errors
    /// `AlreadyExists` when anything has the name, a link to nowhere as well.
    pub fn create(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | ALWAYS;
        Ok(fs::openat(&self.0, name, flags, Mode::from_bits_truncate(0o666))?.into())
    }

    /// Removes a file, or a link and not what it leads to. What is not there is removed.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        match fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// # Errors
    /// `AlreadyExists` when the new name is taken.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<()> {
        match fs::renameat_with(&self.0, name, &to.0, new, RenameFlags::NOREPLACE) {
            // Network file systems cannot do it in one step.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to.has(new)? {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                Ok(fs::renameat(&self.0, name, &to.0, new)?)
            }
            other => Ok(other?),
        }
    }

    /// Renames the very file that was looked at. Its owner may have put another one there in the same moment: that one goes
    /// back, because nobody has read it.
    ///
    /// # Errors
    /// As for [`Self::rename`]; when it is another file.
    pub fn rename_looked_at(&self, name: &OsStr, look: &Look, to: &Self, new: &OsStr) -> Result<()> {
        if self.look(name)?.as_ref() != Some(look) {
            return Err(changed());
        }
        self.rename(name, to, new)?;
        if to.look(new).is_ok_and(|there| there.is_some_and(|there| there.is_same_file(look))) {
            return Ok(());
        }
        let back = to.rename(new, self, name);
        if back.as_ref().is_err_and(|e| e.kind() == ErrorKind::AlreadyExists) {
            to.rename(new, self, OsStr::new(&crate::ids::new_id()))?;
        } else {
            back?;
        }
        Err(changed())
    }

    /// So that names survive a power cut as well.
    pub fn sync(&self) -> Result<()> {
        Ok(fs::fsync(&self.0)?)
    }

    /// Whether this is the lock that [`Self::lock`] gave.
    pub fn is_locked_by(&self, lock: &File) -> bool {
        let there = self.look(OsStr::new(LOCK)).ok().flatten();
        there.is_some() && there == fs::fstat(lock).ok().and_then(|stat| Look::of(&stat).ok())
    }

    /// Makes the folder this process's, until it ends; `None` when it is another one's.
    pub fn lock(&self) -> Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | ALWAYS;
        let file = File::from(fs::openat(&self.0, LOCK, flags, Mode::RUSR | Mode::WUSR)?);
        let stat = fs::fstat(&file)?;
        Look::of(&stat)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            // Its owner could hold the lock, and with that keep the hub from starting.
            return Err(Error::other(format!("{LOCK} is another user's")));
        }
        try_lock(file)
    }
}

/// `None` when another process has it.
///
/// # Errors
/// When it cannot be locked at all.
pub fn try_lock(file: File) -> Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn changed() -> Error {
    Error::other("it was changed or replaced meanwhile; it is looked at again")
}

/// A name as text: what is no UTF-8, or would change how a line of a log looks, is written as its code.
pub fn shown(name: &OsStr) -> String {
    let mut text = String::new();
    for part in name.as_bytes().utf8_chunks() {
        text.push_str(&busbar_core::visible(part.valid()));
        part.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
