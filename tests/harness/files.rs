//! Files and folders as a broker has them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A file for its owner alone.
///
/// # Panics
/// When it cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// All that is in a folder, with owners, modes and times.
///
/// # Panics
/// When it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let from = format!("{}/.", from.display());
    let mut cp = Command::new("cp");
    let done = cp.arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "cp");
}
