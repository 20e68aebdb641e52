//! A layer between SQLite and its files that writes down what SQLite does to the files of one folder: what a disk is
//! told, in order. Everything else passes through. <https://sqlite.org/vfs.html>
#![allow(unsafe_code)]

use libsqlite3_sys::*;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// What a disk is told about a file.
#[derive(Clone, Debug)]
pub enum Event {
    Write {
        file: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        size: usize,
    },
    Sync {
        file: PathBuf,
    },
    Delete {
        file: PathBuf,
    },
    /// Not of the disk: what the store said to whoever asked.
    Confirmed(usize),
}

static FOLDER: OnceLock<PathBuf> = OnceLock::new();
static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());
static VFS: OnceLock<usize> = OnceLock::new();

/// Records what happens to files in `folder` from now on; once in a process.
pub fn record(folder: &Path) {
    FOLDER.set(folder.to_path_buf()).unwrap();
    VFS.get_or_init(|| {
        // Safety: SQLite's own default is never unregistered; ours is leaked and so lives as long.
        unsafe {
            let real = sqlite3_vfs_find(std::ptr::null());
            let mut own = *real;
            own.szOsFile = size_of::<File>() as c_int + (*real).szOsFile;
            own.zName = c"recorder".as_ptr();
            own.pNext = std::ptr::null_mut();
            own.pAppData = real.cast();
            own.xOpen = Some(open);
            own.xDelete = Some(delete);
            own.xAccess = Some(access);
            own.xFullPathname = Some(full_pathname);
            let own = Box::into_raw(Box::new(own));
            assert_eq!(sqlite3_vfs_register(own, 1), SQLITE_OK);
            own as usize
        }
    });
}

pub fn note(event: Event) {
    EVENTS.lock().unwrap().push(event);
}

pub fn events() -> Vec<Event> {
    EVENTS.lock().unwrap().clone()
}

/// An open file: ours, and behind it in the same memory the real one.
#[repr(C)]
struct File {
    base: sqlite3_file,
    watched: *mut PathBuf,
}

/// Safety, here and below: SQLite hands over what `open` has filled.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    unsafe { file.cast::<File>().add(1).cast() }
}

unsafe fn watched<'a>(file: *mut sqlite3_file) -> Option<&'a PathBuf> {
    unsafe { (*file.cast::<File>()).watched.as_ref() }
}

unsafe fn vfs(own: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    unsafe { (*own).pAppData.cast() }
}

unsafe fn path(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().ok()?);
    path.starts_with(FOLDER.get()?).then_some(path)
}

unsafe extern "C" fn open(
    own: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let real = real(file);
        (*real).pMethods = std::ptr::null();
        let result = (*vfs(own)).xOpen.unwrap()(vfs(own), name, real, flags, out);
        let watched = path(name).map_or(std::ptr::null_mut(), |path| Box::into_raw(Box::new(path)));
        (*file.cast::<File>()).watched = watched;
        (*file).pMethods = if (*real).pMethods.is_null() { std::ptr::null() } else { &raw const METHODS };
        result
    }
}

unsafe extern "C" fn delete(own: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    unsafe {
        if let Some(file) = path(name) {
            note(Event::Delete { file });
        }
        (*vfs(own)).xDelete.unwrap()(vfs(own), name, sync_folder)
    }
}

unsafe extern "C" fn access(own: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    unsafe { (*vfs(own)).xAccess.unwrap()(vfs(own), name, flags, out) }
}

unsafe extern "C" fn full_pathname(own: *mut sqlite3_vfs, name: *const c_char, n: c_int, out: *mut c_char) -> c_int {
    unsafe { (*vfs(own)).xFullPathname.unwrap()(vfs(own), name, n, out) }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, n: c_int, at: sqlite3_int64) -> c_int {
    unsafe {
        if let Some(name) = watched(file) {
            let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), n as usize).to_vec();
            note(Event::Write { file: name.clone(), at: at as usize, bytes });
        }
        (*(*real(file)).pMethods).xWrite.unwrap()(real(file), bytes, n, at)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    unsafe {
        if let Some(name) = watched(file) {
            note(Event::Truncate { file: name.clone(), size: size as usize });
        }
        (*(*real(file)).pMethods).xTruncate.unwrap()(real(file), size)
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let result = (*(*real(file)).pMethods).xSync.unwrap()(real(file), flags);
        if let Some(name) = watched(file) {
            note(Event::Sync { file: name.clone() });
        }
        result
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let watched = std::mem::replace(&mut (*file.cast::<File>()).watched, std::ptr::null_mut());
        if !watched.is_null() {
            drop(Box::from_raw(watched));
        }
        (*(*real(file)).pMethods).xClose.unwrap()(real(file))
    }
}

/// Methods that only pass on.
macro_rules! pass {
    ($($name:ident $method:ident ($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $kind)*) -> $result {
            unsafe { (*(*real(file)).pMethods).$method.unwrap()(real(file) $(, $arg)*) }
        })*
    };
}

pass! {
    read xRead(out: *mut c_void, n: c_int, at: sqlite3_int64) -> c_int;
    file_size xFileSize(size: *mut sqlite3_int64) -> c_int;
    lock xLock(level: c_int) -> c_int;
    unlock xUnlock(level: c_int) -> c_int;
    check_reserved_lock xCheckReservedLock(out: *mut c_int) -> c_int;
    file_control xFileControl(op: c_int, arg: *mut c_void) -> c_int;
    sector_size xSectorSize() -> c_int;
    device_characteristics xDeviceCharacteristics() -> c_int;
    shm_map xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int;
    shm_lock xShmLock(offset: c_int, n: c_int, flags: c_int) -> c_int;
    shm_barrier xShmBarrier() -> ();
    shm_unmap xShmUnmap(delete: c_int) -> c_int;
}

// Version 2: with shared memory, without memory-mapped reading.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
