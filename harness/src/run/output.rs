//! Where a run is kept: its plan, and the history that is made with it.

use std::path::Path;

use gauntlet_judge::history::What;
use gauntlet_judge::plan::{Plan, digest};

use super::RunError;
use crate::recorder::Recorder;

/// The directory of a run, with its plan; the history that is streamed to it names that plan. Or one in memory alone.
pub(super) fn open(plan: &Plan, dir: Option<&Path>) -> Result<Recorder, RunError> {
    let output = |path: &Path, source| RunError::Output { path: path.to_owned(), source };
    let Some(dir) = dir else {
        return Recorder::new(None).map_err(|e| output(Path::new(""), e));
    };
    std::fs::create_dir_all(dir).map_err(|e| output(dir, e))?;
    let path = dir.join("plan.json");
    let text = serde_json::to_string_pretty(plan).map_err(|e| output(&path, e.into()))?;
    let plan = digest(&serde_json::from_str(&text).map_err(|e| output(&path, e.into()))?);
    std::fs::write(&path, text).map_err(|e| output(&path, e))?;
    let path = dir.join("history.jsonl");
    let recorder = Recorder::new(Some(&path)).map_err(|e| output(&path, e))?;
    recorder.record(What::Began { plan });
    Ok(recorder)
}
