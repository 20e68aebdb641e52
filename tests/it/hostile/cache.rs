//! Compiled code on disk: loading it is running it, so only the hub's own is loaded.

use crate::hub::{adapters, compiler};
use busbar_server::wasm::{Loaded, Runtime};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn wasm() -> Vec<u8> {
    std::fs::read(adapters().join("hostile.wasm")).unwrap()
}

/// Compiles or loads through a runtime of its own, as another start of the hub would.
fn load(folder: &Path) {
    let runtime = Runtime::new(Some(folder.to_path_buf()), compiler()).unwrap();
    Loaded::load(&runtime, &wasm()).unwrap();
}

fn compiled(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Which file it is, so that a rewritten one is told from the same.
fn identity(path: &Path) -> (u64, SystemTime) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.ino(), metadata.modified().unwrap())
}

#[test]
fn compiled_code_is_kept_for_its_owner_alone_and_used_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("compiled");
    load(&folder);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let file = compiled(&folder);
    assert_eq!((mode(&folder), mode(&file), mode(&folder.join("key"))), (0o700, 0o600, 0o600));
    let first = identity(&file);
    load(&folder);
    assert_eq!(identity(&compiled(&folder)), first, "compiled anew");
}

#[test]
fn code_that_is_not_ours_is_not_loaded() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("compiled");
    load(&folder);
    let file = compiled(&folder);
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let cut = good[..good.len() - 1].to_vec();
    for bad in [flipped, cut, Vec::new(), b"short".to_vec()] {
        std::fs::write(&file, &bad).unwrap();
        load(&folder);
        assert_eq!(std::fs::read(&file).unwrap().len(), good.len());
        assert_ne!(std::fs::read(&file).unwrap(), bad, "it was taken as it was");
    }
    // Signed with another key: whoever knows the format can make one.
    let other = place.path().join("other");
    load(&other);
    let foreign = std::fs::read(compiled(&other)).unwrap();
    std::fs::write(&file, &foreign).unwrap();
    load(&folder);
    assert_ne!(std::fs::read(&file).unwrap(), foreign, "another hub's code was taken");
}

#[test]
fn a_folder_that_others_may_write_into_is_refused() {
    for mode in [0o770, 0o720, 0o777, 0o702] {
        let place = tempfile::tempdir().unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let Err(problem) = Runtime::new(Some(place.path().to_path_buf()), compiler()) else {
            panic!("{mode:o} was accepted")
        };
        assert!(problem.detail.contains("chmod 700"), "{problem}");
    }
}
