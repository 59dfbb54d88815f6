//! The output directory of a suite: made before anything is played, and gone again where nothing was.

use std::path::{Path, PathBuf};

/// Makes the directory, and says which ones that took, the innermost first.
pub(super) fn try_out(out: &Path) -> std::io::Result<Vec<PathBuf>> {
    let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let made = out.ancestors().take_while(missing).map(Path::to_owned).collect();
    std::fs::create_dir_all(out)?;
    let probe = out.join(".writable");
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)?;
    Ok(made)
}

/// What was made for runs that did not come about is not left behind.
pub(super) fn remove_empty(made: &[PathBuf]) {
    // One that holds something stays, and so do all around it: nothing to report.
    _ = made.iter().try_for_each(std::fs::remove_dir);
}
