//! Finds a toolchain that builds for `wasm32-unknown-unknown`, in the three ways of the design: the
//! target is there, rustup can add it, or the distribution's packages build it from source.

use anyhow::bail;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const TARGET: &str = "wasm32-unknown-unknown";

/// How to call cargo.
#[derive(Clone, Debug, PartialEq)]
pub struct Toolchain {
    pub cargo: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub name: &'static str,
}

/// # Errors
/// What exactly to install, when none of the three ways is open.
pub fn find() -> anyhow::Result<Toolchain> {
    if has_target() {
        return Ok(plain("rustup's target"));
    }
    if Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
        && has_target()
    {
        return Ok(plain("rustup's target, just added"));
    }
    if let Some(toolchain) = debian() {
        return Ok(toolchain);
    }
    bail!(
        "no toolchain builds for {TARGET}. Do one of these:\n  rustup target add {TARGET}\n  apt-get install rustc-web cargo-web rust-web-src   (Debian, as root; deploy/common/prepare.sh does it)"
    )
}

fn plain(name: &'static str) -> Toolchain {
    Toolchain { cargo: "cargo".into(), arguments: Vec::new(), environment: Vec::new(), name }
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn has_target() -> bool {
    sysroot("rustc").is_some_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").exists())
}

// Debian's compiler with its own source of std: the standard library is built for the target once,
// which needs the nightly switch, and a linker that knows wasm.
fn debian() -> Option<Toolchain> {
    let (cargo, rustc) = (Path::new("/usr/bin/cargo"), Path::new("/usr/bin/rustc"));
    let source = sysroot("/usr/bin/rustc")?.join("lib/rustlib/src/rust/library/std");
    if !cargo.exists() || !rustc.exists() || !source.exists() {
        return None;
    }
    let linker = linker()?;
    Some(Toolchain {
        cargo: cargo.into(),
        arguments: vec!["-Zbuild-std=std,panic_abort".into()],
        environment: vec![
            ("RUSTC".into(), rustc.display().to_string()),
            ("RUSTC_BOOTSTRAP".into(), "1".into()),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER".into(), linker.display().to_string()),
        ],
        name: "Debian's rustc-web",
    })
}

fn linker() -> Option<PathBuf> {
    let root = sysroot("rustc")?;
    let rustup =
        root.join("lib/rustlib").read_dir().ok()?.flatten().map(|e| e.path().join("bin/rust-lld")).find(|p| p.exists());
    rustup.or_else(|| ["/usr/bin/rust-lld", "/usr/bin/wasm-ld"].into_iter().map(PathBuf::from).find(|p| p.exists()))
}
