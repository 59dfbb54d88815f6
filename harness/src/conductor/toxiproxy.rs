//! Steps that a Toxiproxy behind the link plays, and the evidence that they touched something.
//!
//! Toxiproxy does not say what a toxic did. What the link hears at its far end does: from the moment a toxic is read
//! back, a byte handed to Toxiproxy or coming from it has passed the toxic on that stream.

use gauntlet_judge::history::What;
use gauntlet_judge::scenario::{Step, describe};
use gauntlet_network::Direction;

use super::{ConductError, Conductor, InForce};
use crate::network::Path;
use crate::network::toxic::{Stream, Toxic};

/// A step's toxics, in force.
pub struct Toxics {
    step: usize,
    names: Vec<String>,
}

impl Conductor<'_> {
    /// Puts a step's toxics in force; when this returns, they were read back.
    pub(super) async fn poison(
        &self,
        index: usize,
        step: &Step,
        path: &Path,
        toxics: &[Toxic],
    ) -> Result<InForce, ConductError> {
        let failed = |source| ConductError::Network { step: index + 1, source };
        self.recorder.record(What::Injected { step: index, fault: describe(step) });
        let mut names = Vec::new();
        for toxic in toxics {
            names.push(path.add(toxic).await.map_err(failed)?);
        }
        let ways: Vec<Direction> = toxics
            .iter()
            .map(|t| match t.stream {
                Stream::Upstream => Direction::ToBroker,
                Stream::Downstream => Direction::ToClient,
            })
            .collect();
        self.tap.poisoned(index, ways, format!("{} of Toxiproxy", names.join(" and ")));
        if step.resets {
            self.reset_all(index).await?;
        }
        Ok(InForce::Toxics(Toxics { step: index, names }))
    }

    /// Takes toxics out of force; when this returns, that was read back.
    pub(super) async fn cure(&self, toxics: Toxics) -> Result<(), ConductError> {
        let Toxics { step, names } = toxics;
        let failed = |source| ConductError::Network { step: step + 1, source };
        let Some(path) = &self.path else { return Ok(()) };
        self.tap.cured(step);
        for name in &names {
            path.remove(name).await.map_err(failed)?;
        }
        self.recorder.record(What::Lifted { step });
        Ok(())
    }
}
